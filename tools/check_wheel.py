"""Build the wheel and run the program from it alone, as the users of a release would.

    .venv/bin/python tools/check_wheel.py

The wheel is installed into a folder of its own, without its dependencies, which this environment has. From there the
program shows its version, its settings and the help of `serve` and `demo`, and creates a database (which needs the
migrations: data files are easily left out of a wheel).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_BYTES = 1_000_000
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
TRY = "from overtone.store.database import Database; import sys; Database(sys.argv[1]).close()"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        wheel = build(here)
        check_contents(wheel)
        check_metadata(wheel)
        subprocess.run([*PIP, "install", "--no-deps", "--target", str(here / "site"), str(wheel)], check=True)
        version = run(here, "overtone", "--version")
        run(here, "overtone", "settings")
        run(here, "overtone", "serve", "--help")
        run(here, "overtone", "demo", "--help")
        run(here, sys.executable, "-m", "overtone", "--help")
        run(here, sys.executable, "-c", TRY, f"sqlite:///{here / 'overtone.db'}")
        print(f"{wheel.name}: {wheel.stat().st_size / 1e3:.0f} kB, runs: {version}")


def build(folder: Path) -> Path:
    """Build the wheel into a folder and return its path. The remains of an earlier build would be packed too."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    subprocess.run([*PIP, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Exit with a sentence if the wheel lacks a file of the package, contains others, or is too large."""
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = sorted(package_files() - names)
    foreign = sorted(name for name in names if not name.startswith(("overtone/", "overtone-")))
    if missing or foreign:
        sys.exit(f"{wheel.name} lacks {missing} and contains {foreign}")
    if wheel.stat().st_size > MAX_BYTES:
        sys.exit(f"{wheel.name} has {wheel.stat().st_size} bytes; the limit is {MAX_BYTES}")


def package_files() -> set[str]:
    """Return the names of the package's files, but for its pages for developers."""
    files = (path for path in (ROOT / "overtone").rglob("*") if path.is_file() and path.suffix != ".md")
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def check_metadata(wheel: Path) -> None:
    """Exit with a sentence if a package index would show no description, licence or system requirements."""
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_bytes(archive.read(name))
    fields = ("Summary", "License-Expression", "Requires-Python", "Classifier", "Description-Content-Type")
    missing = [field for field in fields if metadata[field] is None]
    if missing or not metadata.get_payload():
        sys.exit(f"{wheel.name} has no {', '.join(missing) or 'long description'} in its metadata")


def run(folder: Path, *command: str) -> str:
    """Run a command with the wheel's package before all others, away from this checkout; return its output."""
    site = folder / "site"
    environ = os.environ | {"PYTHONPATH": str(site), "OVERTONE_DATA": str(folder / "data")}
    environ["PATH"] = f"{site / 'bin'}{os.pathsep}{environ['PATH']}"
    ended = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ended.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with status {ended.returncode}:\n{ended.stdout}")
    return ended.stdout.strip()


if __name__ == "__main__":
    main()
