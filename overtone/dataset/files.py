"""Training examples from a file: JSON lines, CSV, TSV, or the JSON that the tuning API itself takes.

A row has a `text_input` and an `output` (`textInput` is the same), or two columns that are named with `Columns`.
Nothing is skipped and nothing is guessed: what is not clear is refused with its file and line, before anything is
sent.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overtone.dataset.examples import Dataset, Example
from overtone.dataset.rows import BadRow, Placed, json_rows, table_rows
from overtone.errors import OvertoneError

TABLE_SEPARATORS = {".csv": ",", ".tsv": "\t"}  # by the end of the file's name
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
NOT_TEXT = {
    b"PK\x03\x04": "a spreadsheet or an archive",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
}


@dataclass(frozen=True)
class Columns:
    """Which column or key is what. None: `text_input` (or `textInput`) and `output`."""

    text_input: str | None = None
    output: str | None = None


def read_examples(path: Path, columns: Columns = Columns()) -> Dataset:
    """Read a file of examples; `-` is standard input, in JSON. Raises OvertoneError naming file and line."""
    is_stdin = str(path) == "-"
    name = "standard input" if is_stdin else str(path)
    try:
        data = sys.stdin.buffer.read() if is_stdin else path.read_bytes()
    except OSError as error:
        raise OvertoneError(f"{path} cannot be read: {error.strerror}.") from error
    text = _decode(data, name)
    try:
        rows = _rows(text, path.suffix.lower())
        examples = tuple(_to_example(row, place, columns) for place, row in rows)
    except BadRow as bad:
        raise OvertoneError(f"{name}{bad.place and ', '}{bad.place}: {bad.problem}") from bad.__cause__
    if not examples:
        raise OvertoneError(f"{name} holds no examples.")
    return Dataset(examples)


def _rows(text: str, suffix: str) -> Iterator[Placed]:
    separator = TABLE_SEPARATORS.get(suffix)
    return table_rows(text, separator) if separator else json_rows(text)


def _decode(data: bytes, name: str) -> str:
    """Return the text of a file. Raises OvertoneError that says what it seems to be instead, and what to do."""
    for beginning, what in NOT_TEXT.items():
        if data.startswith(beginning):
            raise OvertoneError(f"{name} is {what}, not text; save it as CSV (UTF-8) or JSON lines.")
    if data.startswith(UTF_16):
        raise OvertoneError(f"{name} is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OvertoneError(
            f"{name} is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x}); if it is Windows-1252: "
            "iconv -f CP1252 -t UTF-8 FILE > NEW"
        ) from error
    return text.lstrip("\ufeff")  # spreadsheets like to begin a file with a byte order mark


def _to_example(row: Any, place: str, columns: Columns) -> Example:
    if not isinstance(row, dict):
        raise BadRow(place, "this is no row of names and texts; each has text_input and output.")
    text_input_names = [columns.text_input] if columns.text_input else ["text_input", "textInput"]
    text_input = _text(row, text_input_names, place)
    output = _text(row, [columns.output or "output"], place)
    if not output:
        raise BadRow(place, "the output is empty; there is nothing to learn from it.")
    return Example.pair(text_input, output)


def _text(row: dict[str, Any], names: Sequence[str], place: str) -> str:
    name = next((name for name in names if name in row), None)
    if name is None:
        found = ", ".join(map(repr, row)) or "nothing"
        raise BadRow(
            place,
            f"there is no {names[0]!r}, only {found}. Say which are the two: --input COLUMN --output COLUMN",
        )
    value = row[name]
    if not isinstance(value, str):
        raise BadRow(place, f"{name} is not text; put it in quotes.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRow(
            place, f"{name} holds half of a surrogate pair (character {error.start}), which is no text."
        ) from error
    return value
