"""Processes, looked at from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.patience import HANG_S

PROC = Path("/proc")


def pids_of(service: subprocess.Popen[bytes]) -> dict[str, int]:
    """Return a service's children by name: api, engine, trainer, and for another base `engine of BASE`."""
    children = (PROC / f"{service.pid}/task/{service.pid}/children").read_text().split()
    words = {int(pid): _words(pid) for pid in children}
    return {_name(line): pid for pid, line in words.items() if "worker" in line}


def _name(line: list[str]) -> str:
    kind = line[line.index("worker") + 1]
    return f"{kind} of {line[line.index('--base') + 1]}" if "--base" in line else kind


def _words(pid: str) -> list[str]:
    """Return a process's command line; none when it has ended while we looked."""
    try:
        return (PROC / pid / "cmdline").read_text().split("\0")
    except (ProcessLookupError, FileNotFoundError):
        return []


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "overtone", *map(str, arguments)]


def run(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run an overtone command to its end."""
    return subprocess.run(
        command(*arguments), env=os.environ | environ, capture_output=True, text=True, timeout=HANG_S
    )


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet buried does not."""
    try:
        os.kill(pid, 0)
        return not PROC.exists() or (PROC / f"{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def proportional_bytes(pid: int) -> int:
    """Return a process's memory, shared pages divided among those who share them."""
    lines = (PROC / f"{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
