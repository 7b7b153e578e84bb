"""Training examples from a file: JSON lines, CSV, TSV, or the JSON that the tuning API itself takes.

A row has a `text_input` and an `output` (`textInput` is the same), or two columns that are named with `Columns`.
Nothing is skipped and nothing is guessed: what is not clear is refused with its file and line, before anything is
sent.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overtone.errors import OvertoneError

Example = dict[str, str]
Placed = tuple[str, Any]  # where it stands, for an error; and what

SEPARATORS = {".csv": ",", ".tsv": "\t"}
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas"}
MAX_CELL_CHARS = 1 << 30
MAX_QUOTED = 40  # characters of an input in a sentence
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
NOT_TEXT = {
    b"PK\x03\x04": "a spreadsheet or an archive",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
}
ENVELOPES = (
    "tuned_model",
    "tunedModel",
    "tuning_task",
    "tuningTask",
    "training_data",
    "trainingData",
    "examples",
)


@dataclass(frozen=True)
class Columns:
    """Which column or key is what. None: `text_input` (or `textInput`) and `output`."""

    text_input: str | None = None
    output: str | None = None


def read_examples(path: Path, columns: Columns = Columns()) -> list[Example]:
    """Read a file of examples; `-` is standard input, in JSON. Raises OvertoneError naming file and line."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise OvertoneError(f"{path} cannot be read: {error.strerror}.") from error
    name = "standard input" if str(path) == "-" else str(path)
    text = _decode(data, name)
    separator = SEPARATORS.get(path.suffix.lower())
    try:
        rows = _table_rows(text, separator) if separator else _json_rows(text)
        examples = [_example(row, place, columns) for place, row in rows]
    except _Fault as fault:
        raise OvertoneError(
            f"{name}{fault.place and ', '}{fault.place}: {fault.problem}"
        ) from fault.__cause__
    if not examples:
        raise OvertoneError(f"{name} holds no examples.")
    return examples


def describe_doubts(examples: Sequence[Example]) -> list[str]:
    """Return what may be a mistake in examples that are sound one by one: doubles, contradictions, empty inputs."""
    doubts = []
    doubles = len(examples) - len({(each["text_input"], each["output"]) for each in examples})
    if doubles:
        doubts.append(f"Examples that repeat an earlier one: {doubles} of {len(examples)}.")
    outputs: dict[str, set[str]] = {}
    for each in examples:
        outputs.setdefault(each["text_input"], set()).add(each["output"])
    unclear = [text_input for text_input, answers in outputs.items() if len(answers) > 1]
    if unclear:
        doubts.append(
            f"Inputs with more than one output: {len(unclear)}, such as {unclear[0][:MAX_QUOTED]!r}."
        )
    empty = sum(not each["text_input"].strip() for each in examples)
    if empty:
        doubts.append(f"Empty inputs: {empty}.")
    return doubts


class _Fault(Exception):
    """What is wrong at a place of the file."""

    def __init__(self, place: str, problem: str):
        super().__init__(place, problem)
        self.place, self.problem = place, problem


def _decode(data: bytes, name: str) -> str:
    """Return the text of a file. Raises OvertoneError that says what it seems to be instead, and what to do."""
    for beginning, what in NOT_TEXT.items():
        if data.startswith(beginning):
            raise OvertoneError(f"{name} is {what}, not text; save it as CSV (UTF-8) or JSON lines.")
    if data.startswith(UTF_16):
        raise OvertoneError(f"{name} is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW")
    try:
        return data.decode("utf-8").lstrip(
            "\ufeff"
        )  # spreadsheets like to begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise OvertoneError(
            f"{name} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}); if it is Windows-1252: "
            "iconv -f CP1252 -t UTF-8 FILE > NEW"
        ) from error


def _table_rows(text: str, separator: str) -> Iterator[Placed]:
    """Yield a table's rows by the names in its first line; each must have as many cells as that."""
    csv.field_size_limit(MAX_CELL_CHARS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    heading: list[str] = []
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _Fault(f"line {start}", f"the quotes of this row do not match ({error}).") from error
        if cells is None:
            return
        if not any(cells):
            continue
        if not heading:
            heading = _heading(cells, f"line {start}", separator)
        elif len(cells) != len(heading):
            raise _Fault(
                f"line {start}",
                f"has {len(cells)} cells; the first line names {len(heading)} columns. Put quotes around a cell that "
                f"holds {OTHER_SEPARATORS[separator]}.",
            )
        else:
            yield f"line {start}", dict(zip(heading, cells, strict=True))


def _heading(cells: Sequence[str], place: str, separator: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(names) == 1:
        other = next((each for each in OTHER_SEPARATORS if each != separator and each in names[0]), None)
        if other:
            raise _Fault(
                place,
                f"the columns are apart by {OTHER_SEPARATORS[other]}, not by {OTHER_SEPARATORS[separator]}; save the "
                f"table with {OTHER_SEPARATORS[separator]}" + (" or name it .tsv." if other == "\t" else "."),
            )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _Fault(place, f"two columns are called {twice!r}.")
    return names


def _json_rows(text: str) -> Iterator[Placed]:
    """Yield the rows of JSON lines, or of one document when the first line is no JSON by itself."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if lines and not _is_json(lines[0][1]):
        for index, row in enumerate(_unwrap(_parse_document(text))):
            yield f"example {index}", row
        return
    for number, line in lines:
        rows = _unwrap(_parse_line(line, f"line {number}"))
        for index, row in enumerate(rows):
            yield f"line {number}" if len(rows) == 1 else f"line {number}, example {index}", row


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
        names = [name for name, _ in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise _Fault(place, f"{twice!r} stands in it twice.")
        return dict(pairs)

    try:
        return json.loads(line, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _Fault(place, f"this is not JSON: {error}.") from error


def _parse_document(text: str) -> Any:
    import pyjson5

    try:
        return pyjson5.decode(text)  # takes trailing commas, which Google's own samples have
    except pyjson5.Json5Exception as error:
        raise _Fault(
            "",
            f"this is neither JSON lines (a whole object on each line) nor one JSON document ({error.message}). "
            "CSV and TSV are known by the ends of their names, .csv and .tsv.",
        ) from error


def _unwrap(value: Any) -> list[Any]:
    """Return the rows inside what the API calls a dataset, a tuning task or a tuned model."""
    if isinstance(value, list):
        return value
    inner = (
        next((value[name] for name in ENVELOPES if name in value), None) if isinstance(value, dict) else None
    )
    return [value] if inner is None else _unwrap(inner)


def _example(row: Any, place: str, columns: Columns) -> Example:
    if not isinstance(row, dict):
        raise _Fault(place, "this is no row of names and texts; each has text_input and output.")
    text_input = _text(
        row, [columns.text_input] if columns.text_input else ["text_input", "textInput"], place
    )
    output = _text(row, [columns.output or "output"], place)
    if not output:
        raise _Fault(place, "the output is empty; there is nothing to learn from it.")
    return {"text_input": text_input, "output": output}


def _text(row: dict[str, Any], names: Sequence[str], place: str) -> str:
    name = next((name for name in names if name in row), None)
    if name is None:
        found = ", ".join(map(repr, row)) or "nothing"
        raise _Fault(
            place,
            f"there is no {names[0]!r}, only {found}. Say which are the two: --input COLUMN --output COLUMN",
        )
    value = row[name]
    if not isinstance(value, str):
        raise _Fault(place, f"{name} is not text; put it in quotes.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Fault(
            place, f"{name} holds half of a surrogate pair (character {error.start}), which is no text."
        ) from error
    return value
