"""The store of the tuned models' files: which database it belongs to, and what no row of that knows.

A database and its folder hold the same identity, the one in its table `meta`, the other in a file. So a new
database over an old folder, or an old one over a new folder, is noticed before anything is done to either.
What no row knows is set aside, never deleted, for it may be all that is left of somebody's work; it is put
back as soon as its row is here again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from overtone.errors import OvertoneError
from overtone.store.artifacts import ArtifactStore

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


def load_identity(artifacts: ArtifactStore) -> Identity | None:
    """Return whose files they are, or None for a store that belongs to nobody yet. Raises OvertoneError."""
    try:
        return Identity(**json.loads(artifacts.read_note(IDENTITY_FILE)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        root = artifacts.root
        raise OvertoneError(
            f"{root / IDENTITY_FILE}, which says to which database the folder belongs, cannot be read ({error}). "
            f"Bring it back from a backup, or write it anew with: overtone bind --data {root.parent}"
        ) from error


def save_identity(artifacts: ArtifactStore, identity: Identity) -> None:
    """Say whose files they are, on the disk when this returns."""
    artifacts.write_note(IDENTITY_FILE, json.dumps({"id": identity.id, "url": identity.url}))


def set_aside(artifacts: ArtifactStore, name: str) -> None:
    """Move a model's files to those that were set aside. Raises OSError."""
    artifacts.move(name, _aside(artifacts))


def put_back(artifacts: ArtifactStore, name: str) -> None:
    """Move files that were set aside to where they were. Raises OSError."""
    _aside(artifacts).move(name, artifacts)


def list_set_aside(artifacts: ArtifactStore) -> list[SetAside]:
    """Return what was set aside, by name."""
    aside = _aside(artifacts)
    return [SetAside(name, aside.num_bytes(name), aside.moved_at(name)) for name in aside.list_names()]


def empty_set_aside(artifacts: ArtifactStore) -> None:
    """Delete for good what was set aside. Raises OSError."""
    _aside(artifacts).delete_all()


def _aside(artifacts: ArtifactStore) -> ArtifactStore:
    return ArtifactStore(artifacts.root / SET_ASIDE_FOLDER)
