"""Environments of Google's published clients (`make test` builds them), and how to run a program in one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.patience import HANG_S

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".envs"
PROGRAMS = Path(__file__).parent / "programs"


def python_in(environment: str) -> Path:
    """Return the interpreter of an environment; skip the test, saying how to make it, when there is none."""
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment {environment}: run `make environments`")
    return python


def node_folder() -> Path:
    """Return the folder where Google's JavaScript client is installed; skip when there is none."""
    folder = ENVIRONMENTS / "javascript"
    if not shutil.which("node") or not (folder / "node_modules").exists():
        pytest.skip("no JavaScript environment: install Node.js, then run `make environments`")
    return folder


def run(command: list[str | Path], **environ: str) -> str:
    """Run a client program to its end and return what it printed. Fails with everything it said otherwise."""
    done = subprocess.run(
        [str(word) for word in command],
        env=without_proxies() | environ,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def without_proxies() -> dict[str, str]:
    """Return our environment without what would lead a client away from the loopback."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
