"""A data folder's lock, which ends with its process, and the note that tells others where it is served."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from overtone.disk import make_private
from overtone.errors import OvertoneError

NOTE_FILE = "serve.json"


@dataclass(frozen=True)
class Note:
    """Where a data folder is served: run/serve.json, which the other commands read."""

    pid: int
    url: str
    grpc: str = ""
    certificate: str = ""

    @classmethod
    def load(cls, run_folder: Path) -> Note:
        """Read the note. Raises OSError or ValueError if there is none."""
        values = json.loads((run_folder / NOTE_FILE).read_text(encoding="utf-8"))
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from error

    def save(self, run_folder: Path) -> None:
        partial = run_folder / f"{NOTE_FILE}.partial"
        partial.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        partial.replace(run_folder / NOTE_FILE)


@contextmanager
def hold(run_folder: Path) -> Iterator[None]:
    """Lock a data folder for this process. The lock ends with the process.

    Raises OvertoneError that names the holder if another process has the lock.
    """
    for folder in (run_folder.parent, run_folder):
        make_private(folder)
    note = run_folder / NOTE_FILE
    with (run_folder / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OvertoneError(_held_by(run_folder)) from None
        note.unlink(missing_ok=True)
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def _held_by(run_folder: Path) -> str:
    try:
        note = Note.load(run_folder)
        who = f"process {note.pid} at {note.url}"
    except (OSError, ValueError):
        who = "a process that is still starting"
    return (
        f"The data folder {run_folder.parent} is already being served, by {who}. "
        "Stop that service first, or choose another folder with --data."
    )
