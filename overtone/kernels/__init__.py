"""Compiled kernels: what they are made of, the operations, and a Llama-like decoder made of those (README.md).

Numba compiles them for the processor at hand: in a few seconds once, then from a cache. The cache lies beside
Python's own, in a folder named after the sources' contents: numba itself would miss a change in a file that the
compiled function's file only imports.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import numba
import platformdirs


def choose_cache(candidates: list[Path]) -> Path:
    """Return the first folder that can be made and that this user alone can write, all the way up.

    What lies in the cache is run: who can write it, or swap one of the folders above it, is this user. Without such a
    folder the kernels are compiled into one that nobody can foresee, and again at the next start.
    """
    for folder in candidates:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and all(map(is_safe, (folder, *folder.resolve().parents))):
            return folder
    return Path(tempfile.mkdtemp(prefix="overtone-kernels-"))


def is_safe(folder: Path) -> bool:
    """Tell whether nobody but this user and root can change what a folder holds.

    A folder with the sticky bit, as /tmp has it, lets others add to it, but not rename or remove what is there.
    """
    found = folder.stat()
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return found.st_uid in (0, os.getuid()) and (not others_write or bool(found.st_mode & stat.S_ISVTX))


def _candidates() -> list[Path]:
    here = Path(__file__).parent
    sources = [*sorted(here.glob("**/*.py")), here.parent / "processor.py"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    data = os.environ.get("OVERTONE_DATA")
    own = [Path(data) / "run" / "kernels"] if data else []
    parents = [
        here / "__pycache__",
        *own,
        platformdirs.user_cache_path("overtone", appauthor=False) / "kernels",
    ]
    return [parent / digest for parent in parents]


numba.config.CACHE_DIR = str(choose_cache(_candidates()))  # type: ignore[attr-defined]
