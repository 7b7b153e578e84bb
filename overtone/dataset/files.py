"""Training examples from a file or from rows: what it is, and every row as an example or as what is wrong with it.

JSON lines, JSON documents and the JSON that the tuning API takes, CSV, TSV and tables with semicolons, Excel. Nothing
is skipped: a row that is no example is there with its place and its problem.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from overtone.dataset.columns import Columns, NoShape, Shape, Shapes
from overtone.dataset.encodings import decode
from overtone.dataset.examples import Dataset, Example, Problem, ProblemKind
from overtone.dataset.rows import (
    SEPARATORS,
    BadRow,
    Placed,
    find_separator,
    json_rows,
    placed_rows,
    table_rows,
    unwrap,
)
from overtone.dataset.workbook import SUFFIXES, read_workbook
from overtone.errors import OvertoneError

TABLE_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}  # by the end of the file's name
BY_NAME = Columns()  # none is named
TABLE_NAMES = {",": "CSV", "\t": "TSV"}


@dataclass(frozen=True)
class DataSource:
    """Training data as they were given: the bytes of a file with its name, or rows."""

    name: str
    data: bytes = b""
    rows: Sequence[Any] | None = None
    columns: Columns = BY_NAME


@dataclass(frozen=True)
class SourceRow:
    """A row: its place in the file, the example that it is as far as it is one, and the problems of reading it."""

    place: str
    example: Example | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class ShapeUse:
    """How many rows of a file were read in which way."""

    text_input: str  # "" for conversations
    output: str
    is_guessed: bool
    num_rows: int


@dataclass(frozen=True)
class Content:
    """What a file holds. `problem` says why it, or what follows its rows, cannot be read."""

    name: str
    format: str = ""
    encoding: str = ""
    shapes: tuple[ShapeUse, ...] = ()
    unused: tuple[str, ...] = ()  # columns that no example comes from
    rows: tuple[SourceRow, ...] = ()
    problem: str = ""


def read_source(source: DataSource) -> Content:
    """Return what a source holds. What cannot be read is in the content, not raised."""
    content = Content(source.name)
    try:
        title, encoding, placed = _open(source)
        content = replace(content, format=title, encoding=encoding)
    except OvertoneError as error:
        return replace(content, problem=str(error))
    except BadRow as bad:
        return replace(content, problem=f"{source.name}{bad.place and ', '}{bad.place}: {bad.problem}")
    return _read_rows(content, placed, Shapes(source.columns))


def load_source(path: Path, columns: Columns = BY_NAME) -> DataSource:
    """Read a file's bytes; `-` is standard input. Raises OvertoneError for one that is not there."""
    if str(path) == "-":
        return DataSource("standard input", sys.stdin.buffer.read(), columns=columns)
    try:
        return DataSource(str(path), path.read_bytes(), columns=columns)
    except OSError as error:
        raise OvertoneError(f"{path} cannot be read: {error.strerror}.") from error


def read_examples(path: Path, columns: Columns = BY_NAME) -> Dataset:
    """Read a file of sound examples. Raises OvertoneError naming file and line of the first that is none."""
    return require_examples(read_source(load_source(path, columns)))


def require_examples(content: Content) -> Dataset:
    """Return the examples of a file. Raises OvertoneError naming file and place of the first row that is none."""
    examples = []
    for row in content.rows:
        if row.problems or row.example is None:
            raise refuse_row(content, row, row.problems[0])
        examples.append(row.example)
    if content.problem:
        raise OvertoneError(content.problem)
    if not examples:
        raise OvertoneError(f"{content.name} holds no examples.")
    return Dataset(tuple(examples))


def refuse_row(content: Content, row: SourceRow, problem: Problem) -> OvertoneError:
    """Return the error for a problem of a row."""
    sentence = f"{problem.field} {problem.text}" if problem.field else problem.text
    return OvertoneError(f"{content.name}, {row.place}: {sentence}")


def _open(source: DataSource) -> tuple[str, str, Iterable[Placed]]:
    """Return format, encoding and rows of a source. Raises OvertoneError, and BadRow also while rows are read."""
    if source.rows is not None:
        return "rows", "", placed_rows(unwrap(list(source.rows)))
    suffix = Path(source.name).suffix.lower()
    if suffix in SUFFIXES:
        title, rows = read_workbook(source.data, source.name)
        return f"Excel, {title}", "", rows
    text, encoding = decode(source.data, source.name)
    if suffix not in TABLE_SEPARATORS:
        return ("JSON lines" if suffix == ".jsonl" else "JSON"), encoding, json_rows(text)
    separator = find_separator(text, TABLE_SEPARATORS[suffix])
    title = TABLE_NAMES.get(separator, f"a table with {SEPARATORS[separator]}")
    return title, encoding, table_rows(text, separator)


def _read_rows(content: Content, placed: Iterable[Placed], shapes: Shapes) -> Content:
    rows: list[SourceRow] = []
    used: list[Shape] = []
    names: dict[str, None] = {}
    problem = ""
    try:
        for place, value in placed:
            rows.append(_read_row(len(rows), place, value, shapes, used))
            if isinstance(value, dict):
                names.update(dict.fromkeys(value))
    except BadRow as bad:
        problem = f"{content.name}{bad.place and ', '}{bad.place}: {bad.problem}" + _not_read(rows)
    uses = Counter((shape.text_input, shape.output, shape.is_guessed) for shape in used)
    taken = frozenset(name for shape in set(used) for name in shape.used)
    unused = tuple(name for name in names if name not in taken) if used else ()
    return replace(
        content,
        rows=tuple(rows),
        shapes=tuple(ShapeUse(*use, n) for use, n in uses.items()),
        unused=unused,
        problem=problem,
    )


def _not_read(rows: Sequence[SourceRow]) -> str:
    return f" Only the {len(rows)} rows before it were read." if rows else ""


def _read_row(index: int, place: str, value: Any, shapes: Shapes, used: list[Shape]) -> SourceRow:
    if isinstance(value, BadRow):
        return SourceRow(place, None, (_unreadable(index, value.problem),))
    if not isinstance(value, dict):
        return SourceRow(
            place,
            None,
            (_unreadable(index, "this is no row of names and texts; each has text_input and output."),),
        )
    try:
        shape = shapes.of(value)
    except NoShape as error:
        return SourceRow(place, None, (_unreadable(index, str(error)),))
    used.append(shape)
    example, problems = shape.read(value)
    return SourceRow(place, example, tuple(replace(problem, row=index) for problem in problems))


def _unreadable(index: int, text: str) -> Problem:
    return Problem(index, "", text, ProblemKind.UNREADABLE)


def sound_rows(content: Content) -> Iterator[tuple[int, Example]]:
    """Yield the rows that are examples, each with its number."""
    return ((index, row.example) for index, row in enumerate(content.rows) if row.example is not None)
