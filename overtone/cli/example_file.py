"""Training examples from a file: JSON lines, CSV, TSV, or the JSON that the tuning API itself takes.

A row has a `text_input` and an `output` (`textInput` is the same). Nothing is skipped and nothing is
guessed: a row that lacks one is named by its line, before anything is sent.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from overtone.errors import OvertoneError

Example = dict[str, str]
Placed = tuple[str, Any]  # where it stands, for an error; and what

SEPARATORS = {".csv": ",", ".tsv": "\t"}
ENVELOPES = (
    "tuned_model",
    "tunedModel",
    "tuning_task",
    "tuningTask",
    "training_data",
    "trainingData",
    "examples",
)


def read_examples(path: Path) -> list[Example]:
    """Read a file of examples; `-` is standard input, in JSON. Raises OvertoneError naming the line."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        text = data.decode("utf-8-sig")  # spreadsheets like to begin a file with a byte order mark
    except OSError as error:
        raise OvertoneError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise OvertoneError(f"{path} is not UTF-8 text (byte {error.start}).") from error
    separator = SEPARATORS.get(path.suffix.lower())
    rows = _table_rows(text, separator) if separator else _json_rows(text)
    examples = [_example(row, f"{path}, {place}") for place, row in rows]
    if not examples:
        raise OvertoneError(f"{path} holds no examples.")
    return examples


def _table_rows(text: str, separator: str) -> Iterator[Placed]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    for row in reader:
        yield f"line {reader.line_num}", row


def _json_rows(text: str) -> Iterator[Placed]:
    """Yield the rows of JSON lines, or of one document when the first line is no JSON by itself."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and not _is_json(lines[0][1]):
        for index, row in enumerate(_unwrap(_parse_document(text))):
            yield f"example {index}", row
        return
    for number, line in lines:
        for row in _unwrap(_parse_line(line, number)):
            yield f"line {number}", row


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _parse_line(line: str, number: int) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise OvertoneError(f"Line {number} is not JSON: {error}.") from error


def _parse_document(text: str) -> Any:
    import pyjson5

    try:
        return pyjson5.decode(text)  # takes trailing commas, which Google's own samples have
    except pyjson5.Json5Exception as error:
        raise OvertoneError(f"This is neither JSON lines nor one JSON document: {error.message}.") from error


def _unwrap(value: Any) -> list[Any]:
    """Return the rows inside what the API calls a dataset, a tuning task or a tuned model."""
    if isinstance(value, list):
        return value
    inner = (
        next((value[name] for name in ENVELOPES if name in value), None) if isinstance(value, dict) else None
    )
    return [value] if inner is None else _unwrap(inner)


def _example(row: Any, place: str) -> Example:
    fields = row if isinstance(row, dict) else {}
    text_input, output = fields.get("text_input", fields.get("textInput")), fields.get("output")
    for name, value in (("text_input", text_input), ("output", output)):
        if not isinstance(value, str):
            raise OvertoneError(
                f"{place}: {name} is missing or is not text; each row needs text_input and output."
            )
    return {"text_input": str(text_input), "output": str(output)}
