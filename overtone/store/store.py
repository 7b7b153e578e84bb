"""Tuned models and who may use them: operations on the tables, one transaction each.

What a job does to a tuned model is in jobs.queue. Every folder belongs to a row: creating a model fills its folder
before the row is committed, deleting a model removes its folder afterwards. The folder of all tuned models belongs
to one database (folders.py); a store on any other database is refused.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import (
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

from overtone.domain.sharing import Question
from overtone.domain.tuning import Snapshot, TunedModel
from overtone.errors import AlreadyExists, NotFound, OvertoneError, tuned_model
from overtone.store import folders
from overtone.store.artifacts import Artifacts, ArtifactStore, artifacts_name
from overtone.store.conditions import conditions_of
from overtone.store.database import Database, is_new
from overtone.store.folders import Identity
from overtone.store.keys import Groups, Keys
from overtone.store.pages import Pager
from overtone.store.permissions import Permissions, insert_permission
from overtone.store.processes import Processes
from overtone.store.tables import (
    TUNED_MODEL_COLUMNS,
    deleted_folders,
    jobs,
    meta,
    snapshots,
    tuned_models,
)

WITH_JOB = tuned_models.join(jobs)
IDENTITY_BYTES = 16

log = logging.getLogger(__name__)


def _select_tuned_models() -> Select[Any]:
    return select(*TUNED_MODEL_COLUMNS).select_from(WITH_JOB)


# Built once: constructing a query takes as long as running it.
BY_ID = _select_tuned_models().where(tuned_models.c.id == bindparam("id"))
SNAPSHOTS = (
    select(snapshots.c.step, snapshots.c.epoch, snapshots.c.mean_loss, snapshots.c.computed_at)
    .where(snapshots.c.operation_id == bindparam("id"))
    .order_by(snapshots.c.step)
)


class Store(Database):
    """The database, and the tuned models' files (`artifacts`).

    Raises OvertoneError, which says what to do, if the two do not belong together.
    """

    def __init__(self, url: str, tuned_folder: Path):
        self.artifacts = ArtifactStore(tuned_folder)
        if is_new(url):
            _require_unowned(url, self.artifacts)
        super().__init__(url)
        self.permissions = Permissions(self)
        self.keys = Keys(self)
        self.groups = Groups(self)
        self.processes = Processes(self)
        try:
            self._require_ours()
        except BaseException:
            self.close()
            raise

    def _require_ours(self) -> None:
        """Raise unless the folder and the database share their identity; give them one if they have none yet."""
        with self.reading() as connection:
            mine = _value(connection, "identity")
        theirs = folders.load_identity(self.artifacts)
        if mine is None:
            self._get_acquainted(theirs)
        elif theirs is None or theirs.id != mine:
            raise _foreign_database(self.shown_url, self.artifacts)

    def _get_acquainted(self, theirs: Identity | None) -> None:
        """Bind a database without an identity to its folder. Raises if one holds models that the other lacks.

        A process that is killed here leaves a folder that names this database; the next start binds them.
        """
        with self.alone() as connection:
            if _value(connection, "identity") is not None:
                return  # another process was faster
            owned = _owned_folders(connection)
            found = self.artifacts.list_names()
            strangers = owned.isdisjoint(found)
            if (theirs and theirs.url != self.shown_url) or (found and strangers):
                raise _foreign_folder(self.shown_url, self.artifacts)
            if owned and strangers:
                raise _foreign_database(self.shown_url, self.artifacts)
            _bind(connection, self.shown_url, self.artifacts)

    @cached_property
    def secret(self) -> bytes:
        """Random bytes, the same for every process on this database."""
        with self.alone() as connection:
            found = _value(connection, "secret")
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
        fill: Callable[[Artifacts], None],
    ) -> TunedModel:
        """Insert a tuned model, its job and its owner, and let `fill` write its files: all or nothing.

        Raises AlreadyExists if the id is taken, ResourceExhausted if the disk is full.
        """
        name = artifacts_name(model["id"], job["operation_id"])
        try:
            with self.alone() as connection:
                row = _insert_tuned_model(connection, model, job)
                insert_permission(connection, row.uid, "USER", owner_email, "OWNER")
                fill(self.artifacts.create(name))
            return replace(row, owner_email=owner_email)
        except BaseException:
            self.artifacts.delete(name)
            raise

    def find_tuned_model(self, tuned_model_id: str) -> TunedModel | None:
        """Return the tuned model with this id, or None."""
        with self.reading() as connection:
            found = connection.execute(BY_ID, {"id": tuned_model_id}).first()
        return _to_row(found) if found else None

    def get_tuned_model(self, tuned_model_id: str) -> TunedModel:
        """Return the tuned model with this id. Raises NotFound."""
        row = self.find_tuned_model(tuned_model_id)
        if row is None:
            raise NotFound("Tuned model {model} does not exist.", model=tuned_model(tuned_model_id))
        return row

    def list_tuned_models(self, question: Question, after: int, limit: int) -> list[TunedModel]:
        """Return at most `limit` tuned models that match the question, oldest first, after a uid."""
        query = _select_tuned_models().where(tuned_models.c.uid > after, *conditions_of(question))
        with self.reading() as connection:
            found = connection.execute(query.order_by(tuned_models.c.uid).limit(limit)).all()
        return [_to_row(row) for row in found]

    def update_tuned_model(self, uid: int, changes: Mapping[str, Any]) -> TunedModel:
        """Change columns of a tuned model and return the new state. Raises NotFound if it was deleted."""
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

    def delete_tuned_model(self, row: TunedModel) -> None:
        """Delete a tuned model, its job and its permissions, then its files.

        The worker of its job gets JobLost.
        """
        name = artifacts_name(row.id, row.operation_id)
        with self.writing() as connection:
            gone = connection.execute(delete(tuned_models).where(tuned_models.c.uid == row.uid))
            if gone.rowcount:
                connection.execute(insert(deleted_folders).values(name=name))
        self.artifacts.delete(name)

    def list_snapshots(self, operation_id: str) -> list[Snapshot]:
        """Return a job's finished steps, in order."""
        with self.reading() as connection:
            return [Snapshot(*found) for found in connection.execute(SNAPSHOTS, {"id": operation_id})]

    def artifacts_of(self, row: TunedModel) -> Artifacts:
        """Return a tuned model's files."""
        return self.artifacts.open(artifacts_name(row.id, row.operation_id))

    def sweep_folders(self) -> None:
        """Clean up after crashes: delete what is left of deleted models, set aside folders that have no row.

        A folder that was set aside and has a row again, because a newer database was restored, is put back.
        Runs `alone`, so that the folder of a model that is just being created is not mistaken for one without a row.
        """
        with self.alone() as connection:
            owned = _owned_folders(connection)
            deleted = set(connection.execute(select(deleted_folders.c.name)).scalars())
            for name in self.artifacts.list_names():
                if name in deleted:
                    self.artifacts.delete(name)
                elif name not in owned:
                    self._set_aside(name)
            for found in folders.list_set_aside(self.artifacts):
                if found.name in owned:
                    self._put_back(found.name)

    def _set_aside(self, name: str) -> None:
        try:
            folders.set_aside(self.artifacts, name)
            log.warning(
                "%s: no tuned model owns this folder; it was set aside, see overtone set-aside list --data %s",
                name,
                self.artifacts.root.parent,
            )
        except OSError as error:
            log.warning("%s: no tuned model owns this folder, and it cannot be set aside: %s", name, error)

    def _put_back(self, name: str) -> None:
        try:
            folders.put_back(self.artifacts, name)
            log.warning("%s: the folder that was set aside has a tuned model again; it was put back", name)
        except OSError as error:
            log.warning("%s: the folder that was set aside cannot be put back: %s", name, error)


def bind(url: str, tuned_folder: Path) -> None:
    """Make a database and a folder belong together, whatever either belonged to before."""
    database = Database(url)
    try:
        with database.alone() as connection:
            _bind(connection, database.shown_url, ArtifactStore(tuned_folder))
    finally:
        database.close()


def search_text_of(display_name: str, description: str) -> str:
    """Return the text that a filter's words are searched in."""
    return f"{display_name}\n{description}".casefold()


def _bind(connection: Connection, shown_url: str, artifacts: ArtifactStore) -> None:
    """Give both a new identity, so that neither still belongs to anything else."""
    identity = Identity(secrets.token_hex(IDENTITY_BYTES), shown_url)
    connection.execute(delete(meta).where(meta.c.key == "identity"))
    connection.execute(insert(meta).values(key="identity", value=identity.id))
    folders.save_identity(artifacts, identity)


def _require_unowned(url: str, artifacts: ArtifactStore) -> None:
    """Raise, before a database is created, if the folder has another database or already holds tuned models."""
    identity = folders.load_identity(artifacts)
    if (identity and identity.url != url) or artifacts.list_names():
        raise _foreign_folder(url, artifacts)


def _foreign_folder(shown_url: str, artifacts: ArtifactStore) -> OvertoneError:
    identity = folders.load_identity(artifacts)
    if identity is None:
        owner, remedy = "holds files of tuned models", "Set OVERTONE_DATABASE_URL to their database"
    elif identity.url == shown_url:
        owner, remedy = "belongs to a database that was at this URL before", "Restore that one from a backup"
    else:
        owner, remedy = f"belongs to {identity.url}", "Set OVERTONE_DATABASE_URL to that"
    return OvertoneError(
        f"The database {shown_url} does not belong to {artifacts.root}, which {owner}. {remedy}. "
        f"To use this database and set the files aside: overtone bind --data {artifacts.root.parent}"
    )


def _foreign_database(shown_url: str, artifacts: ArtifactStore) -> OvertoneError:
    return OvertoneError(
        f"The database {shown_url} belongs to another data folder: the files of its tuned models are not in "
        f"{artifacts.root}. Name that folder with --data, or restore tuned/ from a backup. "
        f"To use this folder anyway: overtone bind --data {artifacts.root.parent}"
    )


def _value(connection: Connection, key: str) -> str | None:
    return connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()


def _owned_folders(connection: Connection) -> set[str]:
    query = select(tuned_models.c.id, jobs.c.operation_id).select_from(WITH_JOB)
    return {artifacts_name(*ids) for ids in connection.execute(query)}


def _to_row(found: Row[Any]) -> TunedModel:
    values: Any = found
    return TunedModel(*values)


def _insert_tuned_model(
    connection: Connection, model: Mapping[str, Any], job: Mapping[str, Any]
) -> TunedModel:
    search_text = search_text_of(model["display_name"], model["description"])
    try:
        uid = connection.execute(
            insert(tuned_models).values(**model, search_text=search_text).returning(tuned_models.c.uid)
        ).scalar_one()
    except IntegrityError:
        raise AlreadyExists("Tuned model {model} already exists.", model=tuned_model(model["id"])) from None
    connection.execute(insert(jobs).values(**job, tuned_model_uid=uid))
    found = connection.execute(_select_tuned_models().where(tuned_models.c.uid == uid)).one()
    return _to_row(found)
