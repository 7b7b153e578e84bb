"""The files of tuned models: their location and their names.

`ArtifactStore` keeps the files of all tuned models under one root, each model's under its own name. `Artifacts` are
the files of one model: named members, each a local path. Users of a member ask for it by name and do not know the
layout. So another kind of store can take this place: it would fetch a member to a local path when it is asked for,
and store it again after the work. Today the root is a local folder, and a member's path is its permanent place. The
content of a member is the concern of its readers and writers.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from overtone.dataset.stored import EXAMPLES_FILE
from overtone.disk import sync_file, sync_folder


def artifacts_name(tuned_model_id: str, operation_id: str) -> str:
    """Return the name of a model's files. It contains the operation: a new model with an old id gets no old files."""
    return f"{tuned_model_id}.{operation_id}"


@dataclass(frozen=True)
class Artifacts:
    """The files of one tuned model. A member's path says where the member is or would be, not whether it exists."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def examples(self) -> Path:
        """The file of training examples: one JSON object per line, written once, before the row."""
        return self.folder / EXAMPLES_FILE

    @property
    def adapter(self) -> Path:
        """The folder of the tuned weights, in the PEFT layout: written once, at the end of the job."""
        return self.folder / "adapter"

    @property
    def source(self) -> Path:
        """The folder of the adapter that the tuning started from; only for a model tuned from another."""
        return self.folder / "source"

    @property
    def checkpoints(self) -> Path:
        """The folder of the job's checkpoints, until it is settled."""
        return self.folder / "checkpoints"

    @property
    def unreported(self) -> Path:
        """The file of the finished steps that the database does not have yet."""
        return self.folder / "unreported.json"

    @property
    def mark(self) -> Path:
        """The file that says that a trainer is computing for the job now, and at which point."""
        return self.folder / "in_pass"

    def link_source(self, parent: Artifacts) -> None:
        """Make the parent's adapter this model's source, with links, because an adapter's files never change.

        They are on the disk when this returns. Raises FileNotFoundError if the parent was deleted in the meantime.
        """
        shutil.copytree(parent.adapter, self.source, copy_function=_link_or_copy)
        sync_folder(self.source)
        sync_folder(self.folder)


class ArtifactStore:
    """The files of all tuned models in one folder: a folder for each model, and notes about the whole store."""

    def __init__(self, root: Path):
        self.root = root

    def create(self, name: str) -> Artifacts:
        """Create the folder of a new model, on the disk, and return its files. Raises FileExistsError if it exists."""
        artifacts = self.open(name)
        artifacts.folder.mkdir(parents=True)
        sync_folder(self.root)
        return artifacts

    def open(self, name: str) -> Artifacts:
        """Return a model's files, whether they exist or not."""
        return Artifacts(self.root / name)

    def delete(self, name: str) -> None:
        """Delete a model's files. Ignores missing files and errors of the disk."""
        shutil.rmtree(self.root / name, ignore_errors=True)

    def list_names(self) -> list[str]:
        """Return the names of the models that have files here, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if path.is_dir() and path.name[0] != ".")

    def move(self, name: str, target: ArtifactStore) -> None:
        """Move a model's files to another store on the same disk, in one step. Raises OSError."""
        target.root.mkdir(exist_ok=True)
        (self.root / name).rename(target.root / name)

    def num_bytes(self, name: str) -> int:
        """Return the total size of a model's files in bytes."""
        return sum(path.stat().st_size for path in (self.root / name).rglob("*") if path.is_file())

    def moved_at(self, name: str) -> datetime:
        """Return the time at which a model's files were moved here."""
        return datetime.fromtimestamp((self.root / name).stat().st_ctime, UTC)

    def read_note(self, name: str) -> str:
        """Return a note about the whole store. Raises FileNotFoundError if there is none, OSError, ValueError."""
        return (self.root / name).read_text(encoding="utf-8")

    def write_note(self, name: str, text: str) -> None:
        """Write a note about the whole store: all or nothing, and on the disk when this returns."""
        self.root.mkdir(parents=True, exist_ok=True)
        partial = self.root / f"{name}.partial"
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            sync_file(file)
        partial.replace(self.root / name)
        sync_folder(self.root)

    def delete_all(self) -> None:
        """Delete the whole store for good. Raises OSError."""
        if self.root.is_dir():
            shutil.rmtree(self.root)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)
