"""What it takes for a file to be there after a power cut: its bytes, and its name in the folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, Any

from overtone.errors import OvertoneError


def sync_file(file: IO[Any]) -> None:
    """Wait until what was written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: created, renamed or removed files included."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private(folder: Path) -> None:
    """Make a folder, or mend one, that its user alone can enter. Raises OvertoneError, saying what to do."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            folder.chmod(0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise OvertoneError(
            f"The folder {folder} cannot be written ({error.strerror}). Choose another with --data or OVERTONE_DATA."
        ) from error
