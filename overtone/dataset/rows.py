"""The text of a file as rows, each with its place for an error: a table's lines, JSON lines, one JSON document.

A row is whatever stands there; what makes it an example is said in columns.py. A row that cannot be read is given as
the BadRow that says why, so that all of them can be told at once.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

Placed = tuple[str, Any]  # where it stands, for an error; and what: a BadRow if it cannot be read

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MAX_CELL_CHARS = 1 << 30
SNIFFED_ROWS = 20
TRAINING_SETS = ("examples", "multiturn_examples", "multiturnExamples")
ENVELOPES = ("tuned_model", "tunedModel", "tuning_task", "tuningTask", "training_data", "trainingData")


class BadRow(Exception):
    """What is wrong at a place of the file."""

    def __init__(self, place: str, problem: str):
        super().__init__(place, problem)
        self.place = place
        self.problem = problem


def find_separator(text: str, usual: str) -> str:
    """Return what stands between the cells: `usual`, unless another one parts the first rows where it does not.

    A first line `sep=;`, as Excel writes it, is believed.
    """
    named = _named_separator(text)
    if named:
        return named
    others = [each for each in SEPARATORS if each != usual]
    return next((each for each in (usual, *others) if _parts(text, each)), usual)


def table_rows(text: str, separator: str) -> Iterator[Placed]:
    """Yield a table's rows by the names in its first line; each must have as many cells as that.

    Raises BadRow where the rest of the table cannot be read, or its first line is no list of names.
    """
    heading: list[str] = []
    for place, cells in _cells(text, separator):
        if not any(cells):
            continue
        if not heading:
            heading = require_heading(cells, place)
            continue
        yield place, _by_name(cells, heading, place, separator)


def json_rows(text: str) -> Iterator[Placed]:
    """Yield the rows of JSON lines, or of one document when the first line is no JSON by itself.

    Raises BadRow for a document that is damaged, unless one of its lines is an object: then they are lines.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if lines and not _is_json(lines[0][1]):
        try:
            yield from placed_rows(unwrap(_parse_document(text)))
            return
        except BadRow:
            if not any(line.startswith("{") and _is_json(line) for _, line in lines):
                raise
    for number, line in lines:
        yield from _line_rows(line, f"line {number}")


def placed_rows(values: Iterable[Any]) -> Iterator[Placed]:
    """Yield rows that came without lines, each by its number."""
    for index, value in enumerate(values):
        yield f"example {index}", value


def unwrap(value: Any) -> list[Any]:
    """Return the rows inside what the API calls a dataset, a tuning task or a tuned model."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return [value]
    sets = [unwrap(value[name]) for name in TRAINING_SETS if name in value]
    if sets:
        return [row for rows in sets for row in rows]
    inner = next((value[name] for name in ENVELOPES if name in value), None)
    return [value] if inner is None else unwrap(inner)


def require_heading(cells: Sequence[str], place: str) -> list[str]:
    """Return the names of a table's columns. Raises BadRow when two are the same."""
    names = [cell.strip() for cell in cells]
    twice = _find_double([name for name in names if name])
    if twice is not None:
        raise BadRow(place, f"two columns are called {twice!r}.")
    return names


def _cells(text: str, separator: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each row's cells with its first line. Raises BadRow for quotes that do not match."""
    csv.field_size_limit(MAX_CELL_CHARS)
    named = 1 if _named_separator(text) else 0
    body = text.split("\n", 1)[1] if named else text
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator, strict=True)
    while True:
        place = f"line {reader.line_num + 1 + named}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise BadRow(place, f"the quotes of this row do not match ({error}).") from error
        if cells is None:
            return
        yield place, cells


def _by_name(cells: list[str], heading: list[str], place: str, separator: str) -> dict[str, str] | BadRow:
    if len(cells) != len(heading):
        return BadRow(
            place,
            f"has {len(cells)} cells; the first line names {len(heading)} columns. Put quotes around a cell that "
            f"holds {SEPARATORS[separator]}.",
        )
    return dict(zip(heading, cells, strict=True))


def _named_separator(text: str) -> str:
    first = text.split("\n", 1)[0].rstrip("\r")
    return first[4:] if first.startswith("sep=") and first[4:] in SEPARATORS else ""


def _parts(text: str, separator: str) -> bool:
    """Whether a separator parts the heading into columns, and the rows below it into as many."""
    try:
        counts = [len(cells) for _, cells in islice(_cells(text, separator), SNIFFED_ROWS) if any(cells)]
    except BadRow:
        counts = [text.split("\n", 1)[0].count(separator) + 1]
    return bool(counts) and counts[0] > 1 and counts.count(counts[0]) * 2 > len(counts)


def _line_rows(line: str, place: str) -> Iterator[Placed]:
    try:
        rows = unwrap(_parse_line(line, place))
    except BadRow as bad:
        yield place, bad
        return
    for index, row in enumerate(rows):
        yield place if len(rows) == 1 else f"{place}, example {index}", row


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return True  # and is told with its line when it is read
    except ValueError:
        return False
    return True


def _parse_line(line: str, place: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise BadRow(place, f"{_find_double([name for name, _ in pairs])!r} stands in it twice.")
        return found

    try:
        return json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise BadRow(place, f"this is not JSON: {error}.") from error


def _parse_document(text: str) -> Any:
    import pyjson5

    try:
        return pyjson5.decode(text)  # takes trailing commas, which Google's own samples have
    except pyjson5.Json5Exception as error:
        raise BadRow(
            "",
            f"this is neither JSON lines (a whole object on each line) nor one JSON document ({error.message}). "
            "CSV and TSV are known by the ends of their names, .csv and .tsv.",
        ) from error


def _find_double(names: Sequence[str]) -> str | None:
    """Return the first name that stands there twice."""
    return next((name for name in names if names.count(name) > 1), None)
