"""The training examples on the disk: one JSON object a line, in the order they were given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from overtone.disk import sync_file, sync_folder
from overtone.service.rules import Example


def save_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write the examples into a file that is on the disk when this returns."""
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            line = {"text_input": example.text_input, "output": example.output}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        sync_file(file)
    sync_folder(path.parent)
