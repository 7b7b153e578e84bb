"""Compiled kernels: what they are made of, the operations, and a Llama-like decoder made of those (README.md).

Numba compiles them for the processor at hand: in a few seconds once, then from a cache. The cache lies beside
Python's own, in a folder named after the sources' contents: numba itself would miss a change in a file that the
compiled function's file only imports.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numba


def _cache_folder() -> Path:
    here = Path(__file__).parent
    package = here.parent
    sources = [*sorted(package.glob("**/kernels/*.py")), package / "kernels/tiles.py"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    for parent in (here / "__pycache__", Path(tempfile.gettempdir()) / f"overtone-{os.getuid()}"):
        folder = parent / digest
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder
    return Path(tempfile.mkdtemp(prefix="overtone-kernels-"))


numba.config.CACHE_DIR = str(_cache_folder())
