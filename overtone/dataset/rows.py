"""The text of a file as rows, each with its place for an error: a table's lines, JSON lines, one JSON document.

A row is whatever stands there; what makes it an example is said in files.py.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

Placed = tuple[str, Any]  # where it stands, for an error; and what

SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas"}
MAX_CELL_CHARS = 1 << 30
ENVELOPES = (
    "tuned_model",
    "tunedModel",
    "tuning_task",
    "tuningTask",
    "training_data",
    "trainingData",
    "examples",
)


class BadRow(Exception):
    """What is wrong at a place of the file."""

    def __init__(self, place: str, problem: str):
        super().__init__(place, problem)
        self.place = place
        self.problem = problem


def table_rows(text: str, separator: str) -> Iterator[Placed]:
    """Yield a table's rows by the names in its first line; each must have as many cells as that. Raises BadRow."""
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    heading: list[str] = []
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise BadRow(f"line {start}", f"the quotes of this row do not match ({error}).") from error
        if cells is None:
            return
        if not any(cells):
            continue
        if not heading:
            heading = _heading(cells, f"line {start}", separator)
        elif len(cells) != len(heading):
            raise BadRow(
                f"line {start}",
                f"has {len(cells)} cells; the first line names {len(heading)} columns. Put quotes around a cell that "
                f"holds {SEPARATORS[separator]}.",
            )
        else:
            yield f"line {start}", dict(zip(heading, cells, strict=True))


def json_rows(text: str) -> Iterator[Placed]:
    """Yield the rows of JSON lines, or of one document when the first line is no JSON by itself. Raises BadRow."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if lines and not _is_json(lines[0][1]):
        for index, row in enumerate(_unwrap(_parse_document(text))):
            yield f"example {index}", row
        return
    for number, line in lines:
        rows = _unwrap(_parse_line(line, f"line {number}"))
        for index, row in enumerate(rows):
            yield f"line {number}" if len(rows) == 1 else f"line {number}, example {index}", row


def _heading(cells: Sequence[str], place: str, separator: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(names) == 1:
        other = next((each for each in SEPARATORS if each != separator and each in names[0]), None)
        if other:
            raise BadRow(
                place,
                f"the columns are apart by {SEPARATORS[other]}, not by {SEPARATORS[separator]}; save the "
                f"table with {SEPARATORS[separator]}" + (" or name it .tsv." if other == "\t" else "."),
            )
    twice = _find_double(names)
    if twice is not None:
        raise BadRow(place, f"two columns are called {twice!r}.")
    return names


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
        twice = _find_double([name for name, _ in pairs])
        if twice is not None:
            raise BadRow(place, f"{twice!r} stands in it twice.")
        return dict(pairs)

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


def _unwrap(value: Any) -> list[Any]:
    """Return the rows inside what the API calls a dataset, a tuning task or a tuned model."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return [value]
    inner = next((value[name] for name in ENVELOPES if name in value), None)
    return [value] if inner is None else _unwrap(inner)


def _find_double(names: Sequence[str]) -> str | None:
    """Return the first name that stands there twice."""
    return next((name for name in names if names.count(name) > 1), None)
