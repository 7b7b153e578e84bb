"""Creates a base folder atomically: it is filled in a hidden folder under a lock, then renamed into place.

A pull that is killed leaves only the hidden folder, which is never used as a model. The next pull removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overtone.disk import sync_file, sync_folder

CLEAR_TRIES = 50
CLEAR_PAUSE_S = 0.1


@contextmanager
def lock(bases: Path, base_id: str) -> Iterator[None]:
    """Hold the lock for writing this base. Another pull of it waits here. The lock ends with its process."""
    bases.mkdir(parents=True, exist_ok=True)
    with (bases / f".{base_id}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def install(bases: Path, base_id: str) -> Iterator[Path]:
    """Yield an empty folder that becomes bases/ID if the block succeeds; after an error it is removed.

    The caller holds `lock`, so every other partial folder of this base is left over from a pull that died.
    """
    for rubbish in bases.glob(f".{base_id}.partial-*"):
        _remove_leftover(rubbish)
    partial = bases / f".{base_id}.partial-{os.getpid()}"
    partial.mkdir()
    try:
        yield partial
        _sync(partial)
        _swap(partial, bases / base_id)
        sync_folder(bases)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove(bases: Path, base_id: str) -> None:
    """Remove a base: rename its folder out of the way, then delete the files."""
    with lock(bases, base_id):
        leaving = bases / f".{base_id}.partial-{os.getpid()}"  # the next pull deletes it if we are killed
        (bases / base_id).rename(leaving)
        sync_folder(bases)
        shutil.rmtree(leaving)


def _remove_leftover(folder: Path) -> None:
    """Remove what a killed pull left. Its pip may live a moment longer and change the folder meanwhile."""
    for _ in range(CLEAR_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(CLEAR_PAUSE_S)
    shutil.rmtree(folder)


def _swap(partial: Path, place: Path) -> None:
    replaced = partial.with_name(f"{partial.name}-replaced")
    if place.exists():
        place.rename(replaced)
    partial.rename(place)
    shutil.rmtree(replaced, ignore_errors=True)


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            sync_file(file)
    sync_folder(folder)
