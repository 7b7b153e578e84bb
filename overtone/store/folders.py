"""The store of the tuned models' files: which database it belongs to, and folders that have no row there.

A database and its folder store the same identity, the database in its table `meta`, the folder in a file. So a new
database with an old folder, or an old one with a new folder, is detected before either is changed. A folder
without a row is set aside and never deleted, because it may be the only copy of somebody's work. It is put back
as soon as the database has its row again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from overtone.errors import OvertoneError
from overtone.store.artifacts import ArtifactStore

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


def load_identity(artifacts: ArtifactStore) -> Identity | None:
    """Return the identity of the store's database, or None if it has none yet. Raises OvertoneError."""
    try:
        return Identity(**json.loads(artifacts.read_note(IDENTITY_FILE)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        root = artifacts.root
        raise OvertoneError(
            f"{root / IDENTITY_FILE}, which says which database the folder belongs to, cannot be read ({error}). "
            f"Restore it from a backup, or write it again with: overtone bind --data {root.parent}"
        ) from error


def save_identity(artifacts: ArtifactStore, identity: Identity) -> None:
    """Write which database the files belong to. The note is on the disk when this returns."""
    artifacts.write_note(IDENTITY_FILE, json.dumps({"id": identity.id, "url": identity.url}))


def set_aside(artifacts: ArtifactStore, name: str) -> None:
    """Move a model's files into `.set-aside`. Raises OSError."""
    artifacts.move(name, _aside(artifacts))


def put_back(artifacts: ArtifactStore, name: str) -> None:
    """Move files that were set aside back to their place. Raises OSError."""
    _aside(artifacts).move(name, artifacts)


def list_set_aside(artifacts: ArtifactStore) -> list[SetAside]:
    """Return what was set aside, sorted by name."""
    aside = _aside(artifacts)
    return [SetAside(name, aside.num_bytes(name), aside.moved_at(name)) for name in aside.list_names()]


def empty_set_aside(artifacts: ArtifactStore) -> None:
    """Delete the folders that were set aside. Raises OSError."""
    _aside(artifacts).delete_all()


def _aside(artifacts: ArtifactStore) -> ArtifactStore:
    return ArtifactStore(artifacts.root / SET_ASIDE_FOLDER)
