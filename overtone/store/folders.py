"""The folder of the tuned models' files: which database it belongs to, and what no row of that knows.

A database and its folder hold the same identity, the one in its table `meta`, the other in a file. So a new
database over an old folder, or an old one over a new folder, is noticed before anything is done to either.
What no row knows is set aside, never deleted, for it may be all that is left of somebody's work; it is put
back as soon as its row is here again.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from overtone.disk import sync_file, sync_folder
from overtone.errors import OvertoneError

IDENTITY_FILE = ".database"  # within tuned/, so that it comes along wherever the files are copied or shared
SET_ASIDE_FOLDER = ".set-aside"


@dataclass(frozen=True)
class Identity:
    """What a folder knows of its database: the identity they share, and where it was, without a password."""

    id: str
    url: str


@dataclass(frozen=True)
class SetAside:
    """A folder that was set aside."""

    name: str
    num_bytes: int
    since: datetime


def load_identity(tuned_folder: Path) -> Identity | None:
    """Return whose folder it is, or None for one that belongs to nobody yet. Raises OvertoneError."""
    path = tuned_folder / IDENTITY_FILE
    try:
        return Identity(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise OvertoneError(
            f"{path}, which says to which database the folder belongs, cannot be read ({error}). "
            f"Bring it back from a backup, or write it anew with: overtone bind --data {tuned_folder.parent}"
        ) from error


def save_identity(tuned_folder: Path, identity: Identity) -> None:
    """Say whose folder it is, on the disk when this returns."""
    tuned_folder.mkdir(parents=True, exist_ok=True)
    partial = tuned_folder / f"{IDENTITY_FILE}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump({"id": identity.id, "url": identity.url}, file)
        sync_file(file)
    partial.replace(tuned_folder / IDENTITY_FILE)
    sync_folder(tuned_folder)


def list_model_folders(tuned_folder: Path) -> list[str]:
    """Return the names of the folders that hold, or held, a tuned model's files."""
    if not tuned_folder.is_dir():
        return []
    return sorted(path.name for path in tuned_folder.iterdir() if path.is_dir() and path.name[0] != ".")


def set_aside(tuned_folder: Path, name: str) -> None:
    """Move a model's folder to those that were set aside. Raises OSError."""
    (tuned_folder / SET_ASIDE_FOLDER).mkdir(exist_ok=True)
    (tuned_folder / name).rename(tuned_folder / SET_ASIDE_FOLDER / name)


def put_back(tuned_folder: Path, name: str) -> None:
    """Move a folder that was set aside to where it was. Raises OSError."""
    (tuned_folder / SET_ASIDE_FOLDER / name).rename(tuned_folder / name)


def list_set_aside(tuned_folder: Path) -> list[SetAside]:
    """Return the folders that were set aside, by name."""
    folder = tuned_folder / SET_ASIDE_FOLDER
    names = list_model_folders(folder)
    return [SetAside(name, _num_bytes(folder / name), _moved_at(folder / name)) for name in names]


def empty_set_aside(tuned_folder: Path) -> None:
    """Delete for good what was set aside. Raises OSError."""
    if (tuned_folder / SET_ASIDE_FOLDER).is_dir():
        shutil.rmtree(tuned_folder / SET_ASIDE_FOLDER)


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _moved_at(folder: Path) -> datetime:
    return datetime.fromtimestamp(folder.stat().st_ctime, UTC)
