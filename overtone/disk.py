"""Makes files survive a power cut: their bytes, and their names in the folder. Creates private folders."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, Any

from overtone.errors import OvertoneError


def sync_file(file: IO[Any]) -> None:
    """Wait until the content of an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, including created, renamed and removed ones."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private(folder: Path) -> None:
    """Create a folder that only its user can enter, or correct its mode. Raises OvertoneError with what to do."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if stat.S_IMODE(folder.stat().st_mode) & 0o077:
            folder.chmod(0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise OvertoneError(
            f"The folder {folder} cannot be created or written ({error.strerror}). Choose another with --data."
        ) from error
