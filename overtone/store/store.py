"""Tuned models and who may use them: verbs over the tables, one transaction each.

What a job may do to a tuned model is not here but in jobs.queue. Folders belong to rows: creating a model
fills its folder before the row is committed, deleting one removes it afterwards.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from overtone.errors import AlreadyExists, NotFound
from overtone.store.database import Database
from overtone.store.keys import Groups, Keys
from overtone.store.pages import Pager
from overtone.store.permissions import Permissions, insert_permission
from overtone.store.tables import (
    TUNED_MODEL_COLUMNS,
    Snapshot,
    TunedModelRow,
    jobs,
    meta,
    snapshots,
    tuned_models,
)
from overtone.wire.names import format_tuned_model, no_tuned_model

WITH_JOB = tuned_models.join(jobs)


def _select_tuned_models() -> Select[Any]:
    return select(*TUNED_MODEL_COLUMNS).select_from(WITH_JOB)


# Built once: putting a query together costs as much as asking it.
BY_ID = _select_tuned_models().where(tuned_models.c.id == bindparam("id"))
SNAPSHOTS = (
    select(snapshots.c.step, snapshots.c.epoch, snapshots.c.mean_loss, snapshots.c.computed_at)
    .where(snapshots.c.operation_id == bindparam("id"))
    .order_by(snapshots.c.step)
)


class Store(Database):
    """The database and, beside it, the folder of the tuned models' files."""

    def __init__(self, url: str, tuned_folder: Path):
        super().__init__(url)
        self.tuned_folder = tuned_folder
        self.permissions = Permissions(self)
        self.keys = Keys(self)
        self.groups = Groups(self)

    @cached_property
    def secret(self) -> bytes:
        """Random bytes that are the same for every process on this database."""
        with self.alone() as connection:
            found = connection.execute(select(meta.c.value).where(meta.c.key == "secret")).scalar()
            if found is None:
                found = secrets.token_hex(32)
                connection.execute(insert(meta).values(key="secret", value=found))
        return bytes.fromhex(found)

    def pager(self, *question: str) -> Pager:
        return Pager(self.secret, question)

    def create_tuned_model(
        self,
        model: Mapping[str, Any],
        job: Mapping[str, Any],
        owner_email: str,
        fill_folder: Callable[[Path], None],
    ) -> TunedModelRow:
        """Insert a tuned model, its job and its owner, and fill its folder: all of it or nothing.

        Raises AlreadyExists when the id is taken, ResourceExhausted when the disk is full.
        """
        folder = self.tuned_folder / f"{model['id']}.{job['operation_id']}"
        try:
            with self.alone() as connection:
                row = _insert_tuned_model(connection, model, job)
                insert_permission(connection, row.uid, "USER", owner_email, "OWNER")
                fill_folder(folder)
            return replace(row, owner_email=owner_email)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def find_tuned_model(self, tuned_model_id: str) -> TunedModelRow | None:
        """Return the tuned model with this id, or None."""
        with self.reading() as connection:
            found = connection.execute(BY_ID, {"id": tuned_model_id}).first()
        return _to_row(found) if found else None

    def get_tuned_model(self, tuned_model_id: str) -> TunedModelRow:
        """Return the tuned model with this id. Raises NotFound."""
        row = self.find_tuned_model(tuned_model_id)
        if row is None:
            raise no_tuned_model(format_tuned_model(tuned_model_id))
        return row

    def list_tuned_models(
        self, conditions: Sequence[ColumnElement[bool]], after: int, limit: int
    ) -> list[TunedModelRow]:
        """Return at most `limit` tuned models that meet all conditions, oldest first, from after a uid on."""
        query = _select_tuned_models().where(tuned_models.c.uid > after, *conditions)
        with self.reading() as connection:
            found = connection.execute(query.order_by(tuned_models.c.uid).limit(limit)).all()
        return [_to_row(row) for row in found]

    def update_tuned_model(self, uid: int, changes: Mapping[str, Any]) -> TunedModelRow:
        """Change columns of a tuned model and return it as it is then. Raises NotFound when it is gone."""
        with self.writing() as connection:
            if changes:
                connection.execute(update(tuned_models).where(tuned_models.c.uid == uid).values(**changes))
            found = connection.execute(_select_tuned_models().where(tuned_models.c.uid == uid)).first()
            if found is None:
                raise NotFound("The tuned model was deleted in the meantime.")
            row = _to_row(found)
            search_text = search_text_of(row.display_name, row.description)
            connection.execute(
                update(tuned_models).where(tuned_models.c.uid == uid).values(search_text=search_text)
            )
        return row

    def delete_tuned_model(self, row: TunedModelRow) -> None:
        """Delete a tuned model, its job and its permissions, then its folder.

        A worker on it loses its job.
        """
        with self.writing() as connection:
            connection.execute(delete(tuned_models).where(tuned_models.c.uid == row.uid))
        shutil.rmtree(self.folder_of(row), ignore_errors=True)

    def list_snapshots(self, operation_id: str) -> list[Snapshot]:
        """Return a job's finished steps, in order."""
        with self.reading() as connection:
            return [Snapshot(*found) for found in connection.execute(SNAPSHOTS, {"id": operation_id})]

    def folder_of(self, row: TunedModelRow) -> Path:
        return self.tuned_folder / row.folder_name

    def sweep_folders(self) -> list[str]:
        """Remove the folders that no tuned model owns, left by a crash, and return their names.

        Alone, so that a model that is just being created is not mistaken for one that failed.
        """
        if not self.tuned_folder.is_dir():
            return []
        with self.alone() as connection:
            owned = {
                f"{tuned_model_id}.{operation_id}"
                for tuned_model_id, operation_id in connection.execute(
                    select(tuned_models.c.id, jobs.c.operation_id).select_from(WITH_JOB)
                )
            }
            orphans = [path for path in sorted(self.tuned_folder.iterdir()) if path.name not in owned]
            for path in orphans:
                shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in orphans]


def search_text_of(display_name: str, description: str) -> str:
    """Return what free text in a filter is looked for in."""
    return f"{display_name}\n{description}".casefold()


def has_text(text: str) -> ColumnElement[bool]:
    """The condition that display name or description holds this text, whatever its case."""
    return tuned_models.c.search_text.contains(text.casefold(), autoescape=True)


def _to_row(found: Row[Any]) -> TunedModelRow:
    values: Any = found
    return TunedModelRow(*values)


def _insert_tuned_model(
    connection: Connection, model: Mapping[str, Any], job: Mapping[str, Any]
) -> TunedModelRow:
    search_text = search_text_of(model["display_name"], model["description"])
    try:
        uid = connection.execute(
            insert(tuned_models).values(**model, search_text=search_text).returning(tuned_models.c.uid)
        ).scalar_one()
    except IntegrityError:
        raise AlreadyExists(f"Tuned model {format_tuned_model(model['id'])} already exists.") from None
    connection.execute(insert(jobs).values(**job, tuned_model_uid=uid))
    found = connection.execute(_select_tuned_models().where(tuned_models.c.uid == uid)).one()
    return _to_row(found)
