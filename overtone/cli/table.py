"""Plain-text tables: aligned, never wrapped, at most as wide as the terminal, uncut when piped."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence

GAP, LEAST = 2, 6  # characters between two columns; minimum width of a column


def format_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    droppable: Sequence[str] = (),
) -> str:
    """Return the rows under their headings, each column as wide as its widest cell, or narrower to fit `width`.

    `droppable` columns are left out first, in that order, until the rest fits. The first column, which holds the
    names, is narrowed last. The default width is the terminal's; there is no limit if the output is piped.
    """
    lines = [headings, *rows]
    width = terminal_width() if width is None else width
    for heading in droppable:
        if width is None or table_width(lines) <= width:
            break
        place = list(lines[0]).index(heading)
        lines = [[*line[:place], *line[place + 1 :]] for line in lines]
    widths = _widths(lines)
    if width is not None:
        widths = _fitted(widths, width - GAP * (len(widths) - 1))
    return "\n".join(_line(line, widths) for line in lines)


def format_facts(facts: Mapping[str, str], width: int | None = None) -> str:
    """Return one name and value a line. A value too long for the terminal is wrapped and indented."""
    margin = max(map(len, facts)) + GAP
    width = terminal_width() if width is None else width
    lines = []
    for name, value in facts.items():
        wrapped = [value] if width is None else textwrap.wrap(value, max(width - margin, LEAST))
        lines += [f"{name:<{margin}}{wrapped[0]}", *(" " * margin + line for line in wrapped[1:])]
    return "\n".join(lines)


def terminal_width() -> int | None:
    """Return the terminal's width in columns, or None if the output is piped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table_width(lines: Sequence[Sequence[str]]) -> int:
    """Return the width of the table when nothing is cut."""
    widths = _widths(lines)
    return sum(widths) + GAP * (len(widths) - 1)


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _fitted(widths: list[int], room: int) -> list[int]:
    """Narrow the widest column, one character at a time, until all fit or all are at the minimum; the first last."""
    first, *rest = widths
    while rest and first + sum(rest) > room and max(rest) > LEAST:
        rest[rest.index(max(rest))] -= 1
    return [min(first, max(room - sum(rest), LEAST)), *rest]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
    return (" " * GAP).join(cells).rstrip()


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"
