"""Reads a model publisher's JSON files, with a plain error for each way in which they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from overtone.errors import OvertoneError

LFS_POINTER = b"version https://git-lfs"


def read(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, which may have a byte order mark. Raises OvertoneError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OvertoneError(f"{path} cannot be read: {error.strerror}.") from error
    if data.startswith(LFS_POINTER):
        raise OvertoneError(
            f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` there first."
        )
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except ValueError as error:
        raise OvertoneError(f"{path} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise OvertoneError(f"{path} is not a JSON object.")
    return value


def read_if_there(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or an empty one if there is no file."""
    return read(path) if path.is_file() else {}
