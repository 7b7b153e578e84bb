"""Tables in plain text: aligned, never wrapped; as wide as the terminal at most, and whole when piped."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

GAP, LEAST = 2, 6  # characters between two columns, and in the narrowest


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Return the rows under their headings, each column as wide as its widest cell, or less to fit into `width`.

    Without a width it is the terminal's, or no limit where the output goes elsewhere.
    """
    if width is None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    if width is not None:
        widths = _fitted(widths, width - GAP * (len(widths) - 1))
    return "\n".join(_line(row, widths) for row in (headings, *rows))


def _fitted(widths: list[int], room: int) -> list[int]:
    """Take from the widest column, one by one, until all fit or none can give."""
    fitted = list(widths)
    while sum(fitted) > room and max(fitted) > LEAST:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
    return (" " * GAP).join(cells).rstrip()


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"
