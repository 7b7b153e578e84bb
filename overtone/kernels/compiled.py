"""Sees to it that the kernels are compiled before they are used, and by a process of their own.

The process that compiles a kernel computes with other last bits than every later one, which loads the same code from
the cache (docs/log.md). A job that began in the one and was resumed in the other would not end with the same weights.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import numba
from llvmlite import binding

log = logging.getLogger("overtone")


def compile_once() -> None:
    """Compile all kernels for this processor unless they are in the cache, which takes about a minute.

    Processes that start together wait for one of them. Where there is no lasting cache, nothing is done: each process
    compiles what it uses.
    """
    cache = Path(numba.config.CACHE_DIR)  # type: ignore[attr-defined]
    if is_complete(cache) or cache.parent == Path(tempfile.gettempdir()):
        return
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_complete(cache):
            return
        log.info(
            "Compiling the kernels for this processor: about a minute, once for each version of Overtone"
        )
        done = subprocess.run([sys.executable, "-m", "overtone.kernels"], stdin=subprocess.DEVNULL)
        if done.returncode:
            log.warning("The kernels could not be compiled beforehand; they are compiled when they are used")


def is_complete(cache: Path) -> bool:
    """Tell whether a cache holds all kernels for this processor."""
    return _marker(cache).exists()


def note_complete(cache: Path) -> None:
    """Note that a cache holds all kernels for this processor."""
    _marker(cache).touch()


def _marker(cache: Path) -> Path:
    """Return the file that says so. A cache may be shared by several machines, whose processors differ."""
    target = f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"
    return cache / f"complete-{hashlib.sha256(target.encode()).hexdigest()[:16]}"
