"""The training examples on the disk: one JSON object a line, in the order they were given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from overtone.dataset.examples import Example
from overtone.disk import sync_file, sync_folder

EXAMPLES_FILE = "examples.jsonl"


def save_examples(folder: Path, examples: Sequence[Example]) -> None:
    """Write the examples into a new folder; they and the folder's name are on the disk when this returns."""
    folder.mkdir(parents=True)
    with (folder / EXAMPLES_FILE).open("w", encoding="utf-8") as file:
        for example in examples:
            line = {"text_input": example.text_input, "output": example.output}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        sync_file(file)
    sync_folder(folder)
    sync_folder(folder.parent)
