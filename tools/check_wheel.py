"""Build the wheel, and run the program from it alone: what a release would give its users.

    .venv/bin/python tools/check_wheel.py

The wheel is installed without its dependencies, which this environment has, into a folder of its own; from there the
program says its version, makes a database (the migrations are data, and easily left out) and shows its settings.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_BYTES = 1_000_000
NEEDED = (
    "overtone/cli/support.csv",
    "overtone/store/migrations/env.py",
    "overtone/store/migrations/script.py.mako",
    "overtone/kernels/llama/train.py",
)
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
TRY = "from overtone.store.database import Database; import sys; Database(sys.argv[1]).close()"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        wheel = build(here)
        check_contents(wheel)
        subprocess.run([*PIP, "install", "--no-deps", "--target", str(here / "site"), str(wheel)], check=True)
        version = run(here, "-m", "overtone", "--version")
        run(here, "-m", "overtone", "settings")
        run(here, "-c", TRY, f"sqlite:///{here / 'overtone.db'}")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e3:.0f} kB, runs: {version}")


def build(folder: Path) -> Path:
    """Build the wheel into a folder and return its path. What an earlier build left would be packed again."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    subprocess.run([*PIP, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Exit with a sentence when the wheel lacks something, carries too much, or is too large."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in NEEDED if name not in names]
    foreign = [name for name in names if not name.startswith(("overtone/", "overtone-"))]
    if missing or foreign:
        sys.exit(f"{wheel.name} lacks {missing} and carries {foreign}")
    if wheel.stat().st_size > MAX_BYTES:
        sys.exit(f"{wheel.name} has {wheel.stat().st_size} bytes; the limit is {MAX_BYTES}")


def run(folder: Path, *arguments: str) -> str:
    """Run Python with the wheel's package before all others, away from this checkout; return what it says."""
    environ = os.environ | {"PYTHONPATH": str(folder / "site"), "OVERTONE_DATA": str(folder / "data")}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environ, check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
