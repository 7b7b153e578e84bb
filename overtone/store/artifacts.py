"""The files of tuned models: where they lie, and what each of them is called.

`ArtifactStore` keeps the files of all tuned models under one root, each model's under a name of its own.
`Artifacts` are the files of one model: named members, each a local path. Who uses a member asks for it by name
and knows no layout, so that another kind of store can stand here: it would bring a member to a local path when
it is asked for, and take it back when the work on it is done. Today the root is a local folder, and a member's
path is where it stays. What a member holds is the business of who reads and writes it.
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
    """Return the name of a model's files; with the operation in it, a model made again never meets its old ones."""
    return f"{tuned_model_id}.{operation_id}"


@dataclass(frozen=True)
class Artifacts:
    """The files of one tuned model. A member's path says where it is or would be, not whether it is there."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def examples(self) -> Path:
        """The file of the training examples: one JSON object a line, written once, before the row."""
        return self.folder / EXAMPLES_FILE

    @property
    def adapter(self) -> Path:
        """The folder of the tuned weights, in PEFT's layout: written once, at the job's end."""
        return self.folder / "adapter"

    @property
    def source(self) -> Path:
        """The folder of the adapter that the tuning began with; only of a model that was tuned from another."""
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
        """The file that says that a trainer computes for the job at this moment, and where it is."""
        return self.folder / "in_pass"

    def link_source(self, parent: Artifacts) -> None:
        """Make the parent's adapter this model's source: links, for an adapter's files never change.

        On the disk when this returns. Raises FileNotFoundError when the parent was deleted in the meantime.
        """
        shutil.copytree(parent.adapter, self.source, copy_function=_link_or_copy)
        sync_folder(self.source)
        sync_folder(self.folder)


class ArtifactStore:
    """The files of all tuned models, in one folder: a folder for each, and notes about the whole beside them."""

    def __init__(self, root: Path):
        self.root = root

    def create(self, name: str) -> Artifacts:
        """Make room for a new model's files and return it, on the disk. Raises FileExistsError for a name in use."""
        artifacts = self.open(name)
        artifacts.folder.mkdir(parents=True)
        sync_folder(self.root)
        return artifacts

    def open(self, name: str) -> Artifacts:
        """Return a model's files, whether or not there are any."""
        return Artifacts(self.root / name)

    def delete(self, name: str) -> None:
        """Delete a model's files, as far as there are any and the disk lets go of them."""
        shutil.rmtree(self.root / name, ignore_errors=True)

    def list_names(self) -> list[str]:
        """Return the names of the models that have files here, in order."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if path.is_dir() and path.name[0] != ".")

    def move(self, name: str, target: ArtifactStore) -> None:
        """Move a model's files to another store on the same disk, in one step. Raises OSError."""
        target.root.mkdir(exist_ok=True)
        (self.root / name).rename(target.root / name)

    def num_bytes(self, name: str) -> int:
        """Return how many bytes a model's files have together."""
        return sum(path.stat().st_size for path in (self.root / name).rglob("*") if path.is_file())

    def moved_at(self, name: str) -> datetime:
        """Return when a model's files were moved here."""
        return datetime.fromtimestamp((self.root / name).stat().st_ctime, UTC)

    def read_note(self, name: str) -> str:
        """Return a note about the whole store. Raises FileNotFoundError when there is none, OSError, ValueError."""
        return (self.root / name).read_text(encoding="utf-8")

    def write_note(self, name: str, text: str) -> None:
        """Write a note about the whole store: all of it or nothing, and on the disk when this returns."""
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
