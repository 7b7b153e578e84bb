"""Logs of the service: one line per event, to stderr, each with its time and the process that speaks."""

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
    """Send this process's events to stderr; with `verbose`, the small ones and the libraries' too."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(process))
    logging.basicConfig(handlers=[handler], level=logging.INFO if verbose else logging.WARNING)
    logging.getLogger("overtone").setLevel(logging.DEBUG if verbose else logging.INFO)
