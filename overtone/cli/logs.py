"""The service's log: one line per event on stderr, with the time and the name of the process."""

from __future__ import annotations

import logging

MARKS = {logging.WARNING: "warning: ", logging.ERROR: "error: ", logging.CRITICAL: "error: "}


class _Lines(logging.Formatter):
    def __init__(self, process: str):
        super().__init__(f"%(asctime)s {process:<8}%(mark)s%(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        record.mark = MARKS.get(record.levelno, "")
        return super().format(record)


def configure(process: str, verbose: bool) -> None:
    """Log to stderr. With `verbose`, include debug messages and the libraries' messages."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(process))
    logging.basicConfig(handlers=[handler], level=logging.INFO if verbose else logging.WARNING)
    logging.getLogger("overtone").setLevel(logging.DEBUG if verbose else logging.INFO)
