"""The folder of the tuned models' files: which database it belongs to, and folders that have no row there.

A database and its folder store the same identity, the database in its table `meta`, the folder in a file. So a new
database with an old folder, or an old one with a new folder, is detected before either is changed. A folder
without a row is set aside and never deleted, because it may be the only copy of somebody's work. It is put back
as soon as the database has its row again.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from overtone.disk import sync_file, sync_folder
from overtone.errors import OvertoneError

IDENTITY_FILE = ".database"  # inside tuned/, so that it is copied and shared together with the files
SET_ASIDE_FOLDER = ".set-aside"


@dataclass(frozen=True)
class Identity:
    """A folder's database: the identity that both store, and the database's URL without its password."""

    id: str
    url: str


@dataclass(frozen=True)
class SetAside:
    """A folder that was set aside."""

    name: str
    num_bytes: int
    since: datetime


def load_identity(tuned_folder: Path) -> Identity | None:
    """Return the identity of the folder's database, or None if it has none yet. Raises OvertoneError."""
    path = tuned_folder / IDENTITY_FILE
    try:
        return Identity(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise OvertoneError(
            f"{path}, which says which database the folder belongs to, cannot be read ({error}). "
            f"Restore it from a backup, or write it again with: overtone bind --data {tuned_folder.parent}"
        ) from error


def save_identity(tuned_folder: Path, identity: Identity) -> None:
    """Write which database the folder belongs to. The file is on the disk when this returns."""
    tuned_folder.mkdir(parents=True, exist_ok=True)
    partial = tuned_folder / f"{IDENTITY_FILE}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump({"id": identity.id, "url": identity.url}, file)
        sync_file(file)
    partial.replace(tuned_folder / IDENTITY_FILE)
    sync_folder(tuned_folder)


def list_model_folders(tuned_folder: Path) -> list[str]:
    """Return the names of the folders that hold, or held, the files of a tuned model."""
    if not tuned_folder.is_dir():
        return []
    return sorted(path.name for path in tuned_folder.iterdir() if path.is_dir() and path.name[0] != ".")


def set_aside(tuned_folder: Path, name: str) -> None:
    """Move a model's folder into `.set-aside`. Raises OSError."""
    (tuned_folder / SET_ASIDE_FOLDER).mkdir(exist_ok=True)
    (tuned_folder / name).rename(tuned_folder / SET_ASIDE_FOLDER / name)


def put_back(tuned_folder: Path, name: str) -> None:
    """Move a folder that was set aside back to its place. Raises OSError."""
    (tuned_folder / SET_ASIDE_FOLDER / name).rename(tuned_folder / name)


def list_set_aside(tuned_folder: Path) -> list[SetAside]:
    """Return the folders that were set aside, sorted by name."""
    folder = tuned_folder / SET_ASIDE_FOLDER
    names = list_model_folders(folder)
    return [SetAside(name, _num_bytes(folder / name), _moved_at(folder / name)) for name in names]


def empty_set_aside(tuned_folder: Path) -> None:
    """Delete the folders that were set aside. Raises OSError."""
    if (tuned_folder / SET_ASIDE_FOLDER).is_dir():
        shutil.rmtree(tuned_folder / SET_ASIDE_FOLDER)


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _moved_at(folder: Path) -> datetime:
    return datetime.fromtimestamp(folder.stat().st_ctime, UTC)
