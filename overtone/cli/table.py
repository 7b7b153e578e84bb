"""Tables in plain text: aligned, never wrapped; as wide as the terminal at most, and whole when piped."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence

GAP, LEAST = 2, 6  # characters between two columns, and in the narrowest


def format_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    droppable: Sequence[str] = (),
) -> str:
    """Return the rows under their headings, each column as wide as its widest cell, or less to fit into `width`.

    Columns that are `droppable` go first, in that order, until the rest fits. The first column, by which things are
    called, gives way last. Without a width it is the terminal's, or no limit where the output goes elsewhere.
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
    """Return names and values below each other; a value that is too long for the terminal goes on below itself."""
    margin = max(map(len, facts)) + GAP
    width = terminal_width() if width is None else width
    lines = []
    for name, value in facts.items():
        wrapped = [value] if width is None else textwrap.wrap(value, max(width - margin, LEAST))
        lines += [f"{name:<{margin}}{wrapped[0]}", *(" " * margin + line for line in wrapped[1:])]
    return "\n".join(lines)


def terminal_width() -> int | None:
    """Return the columns of the terminal, or None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table_width(lines: Sequence[Sequence[str]]) -> int:
    """Return how wide a table is that cuts nothing."""
    widths = _widths(lines)
    return sum(widths) + GAP * (len(widths) - 1)


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _fitted(widths: list[int], room: int) -> list[int]:
    """Take from the widest column, one by one, until all fit or none can give; from the first one last."""
    first, *rest = widths
    while rest and first + sum(rest) > room and max(rest) > LEAST:
        rest[rest.index(max(rest))] -= 1
    return [min(first, max(room - sum(rest), LEAST)), *rest]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
    return (" " * GAP).join(cells).rstrip()


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"
