"""The training examples of a tuned model on the disk: one JSON object a line, in the order they were given.

The file's name and the shape of its lines are known here alone. A pair is `{"text_input": …, "output": …}`; any
other conversation is `{"turns": [{"role": …, "text": …}, …]}`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from overtone.dataset.examples import Dataset, Example, Role, Turn
from overtone.disk import sync_file, sync_folder
from overtone.errors import OvertoneError

EXAMPLES_FILE = "examples.jsonl"
ROLES = get_args(Role)


def save_examples(path: Path, dataset: Dataset) -> None:
    """Write the examples into a file that is on the disk when this returns."""
    with path.open("w", encoding="utf-8") as file:
        for example in dataset.examples:
            file.write(json.dumps(_to_line(example), ensure_ascii=False) + "\n")
        sync_file(file)
    sync_folder(path.parent)


def load_examples(path: Path) -> Dataset:
    """Read the examples of a file. Raises OvertoneError, with the number of a line that is damaged."""
    try:
        with path.open(encoding="utf-8") as file:
            return Dataset(tuple(_parse_line(number, line) for number, line in enumerate(file, start=1)))
    except (OSError, UnicodeDecodeError) as error:
        raise OvertoneError(f"The training examples cannot be read: {error}.") from error


def _to_line(example: Example) -> dict[str, Any]:
    if example.is_pair:
        return {"text_input": example.text_input, "output": example.output}
    return {"turns": [{"role": turn.role, "text": turn.text} for turn in example.turns]}


def _parse_line(number: int, line: str) -> Example:
    try:
        return _parse_example(json.loads(line))
    except (ValueError, TypeError, KeyError) as error:
        raise OvertoneError(f"The training examples are damaged at line {number}.") from error


def _parse_example(value: Any) -> Example:
    """Return the example of a line. Raises ValueError, TypeError or KeyError for one that was not written here."""
    if "turns" not in value:
        return Example.pair(_text(value["text_input"]), _text(value["output"]))
    return Example(tuple(Turn(_role(turn["role"]), _text(turn["text"])) for turn in value["turns"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _role(value: Any) -> Role:
    role: Role = ROLES[ROLES.index(value)]
    return role
