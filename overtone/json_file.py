"""JSON files that a model's publisher wrote, read with a sentence for each way in which they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from overtone.errors import OvertoneError

LFS_POINTER = b"version https://git-lfs"


def read(path: Path) -> dict[str, Any]:
    """Return the object in a file, with or without a byte order mark. Raises OvertoneError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OvertoneError(f"{path} cannot be read: {error.strerror}.") from error
    if data.startswith(LFS_POINTER):
        raise OvertoneError(f"{path} is a pointer of Git LFS, not the file: run `git lfs pull` there first.")
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except ValueError as error:
        raise OvertoneError(f"{path} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise OvertoneError(f"{path} holds no JSON object.")
    return value


def read_if_there(path: Path) -> dict[str, Any]:
    """Return the object in a file, or an empty one when there is no file."""
    return read(path) if path.is_file() else {}
