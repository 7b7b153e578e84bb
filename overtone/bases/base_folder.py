"""How a base folder comes into being: beside its place, under a lock, and into it by one rename.

A pull that is killed leaves only a hidden folder, which nothing takes for a model and the next pull clears
away.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overtone.disk import sync_file, sync_folder


@contextmanager
def lock(bases: Path, base_id: str) -> Iterator[None]:
    """Hold the right to write this base; another pull of it waits here. The lock dies with its process."""
    bases.mkdir(parents=True, exist_ok=True)
    with (bases / f".{base_id}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def install(bases: Path, base_id: str) -> Iterator[Path]:
    """Yield an empty folder that becomes bases/ID when the block ends well, and nothing when it does not.

    The caller holds `lock`, so every partial folder that lies here belongs to a pull that died.
    """
    for rubbish in bases.glob(f".{base_id}.partial-*"):
        shutil.rmtree(rubbish)
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
    """Take a base away: out of its place by one rename, then its files."""
    with lock(bases, base_id):
        leaving = bases / f".{base_id}.partial-{os.getpid()}"  # the next pull clears it away if we are killed
        (bases / base_id).rename(leaving)
        sync_folder(bases)
        shutil.rmtree(leaving)


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
