"""The queue of tuning jobs: the database is the queue, a row is the job.

    enqueue → claim → beat … beat → settle           and, from outside:  cancel, rescue, release

A job is enqueued when its tuned model is created (store.create_tuned_model), in the same transaction. A claim is
one statement. Every later write of a worker carries the number of its attempt. So a worker that was presumed
dead, and whose job went to another, cannot write any more: it gets JobLost, and so does a worker whose model was
deleted.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Row, Update, insert, select, update

from overtone.domain.tuning import Snapshot
from overtone.errors import Code
from overtone.store.artifacts import Artifacts, artifacts_name
from overtone.store.store import Store
from overtone.store.tables import jobs, snapshots, tuned_models

QUEUED, RUNNING = "QUEUED", "RUNNING"
SUCCEEDED, FAILED, CANCELLED = "SUCCEEDED", "FAILED", "CANCELLED"
MOVES = {
    QUEUED: {RUNNING, CANCELLED},
    RUNNING: {SUCCEEDED, FAILED, CANCELLED, QUEUED},  # back to QUEUED by a rescue or a release
    SUCCEEDED: set[str](),
    FAILED: set[str](),
    CANCELLED: set[str](),
}


class JobLost(Exception):
    """The job no longer belongs to this worker: it was rescued, or its model was deleted. Drop it."""


class Verdict(Enum):
    """What a beat tells the worker to do."""

    CONTINUE = "continue"
    CANCEL = "cancel"  # stop after this step and settle with Cancelled


@dataclass(frozen=True)
class Job:
    """A claimed job: everything a worker needs, and the attempt number that its writes carry."""

    operation_id: str
    tuned_model_id: str
    base_id: str
    attempt: int
    artifacts: Artifacts
    epoch_count: int
    batch_size: int
    learning_rate: float
    total_steps: int
    completed_steps: int
    num_examples: int
    num_tokens: int  # in all examples together
    seed: int
    continues: bool  # whether it starts from the adapter in its artifacts' source
    created_at: datetime
    crashes: int  # attempts that ended in a rescue
    crash_record: Mapping[str, Any] | None  # what an earlier attempt recorded with note_crashes


@dataclass(frozen=True)
class Running:
    """A running job's heartbeat: its worker, its attempt, and the time of the last beat by the worker's clock."""

    operation_id: str
    worker_id: str | None
    attempt: int
    beat_at: datetime


@dataclass(frozen=True)
class Succeeded:
    """The adapter is complete in the job's folder, and on the disk."""

    adapter_digest: str


@dataclass(frozen=True)
class Failed:
    """There is no model. The operation shows the message."""

    code: Code
    message: str


@dataclass(frozen=True)
class Cancelled:
    """Stopped because it was cancelled; with a digest if a step was finished and its adapter saved."""

    adapter_digest: str | None = None


Outcome = Succeeded | Failed | Cancelled


class Queue:
    """The operations on jobs, one transaction each."""

    def __init__(self, store: Store):
        self._store = store

    def claim(self, worker_id: str, base_id: str) -> Job | None:
        """Take the oldest waiting job of a base, or return None.

        One statement: two workers never take the same job. It first reads whether a job waits, so that workers,
        which ask several times a second, do not take the write lock for nothing.
        """
        waiting = (
            select(jobs.c.operation_id).where(jobs.c.state == QUEUED, jobs.c.base_id == base_id).limit(1)
        )
        with self._store.reading() as connection:
            if connection.execute(waiting).first() is None:
                return None
        oldest = waiting.order_by(jobs.c.tuned_model_uid).with_for_update(skip_locked=True).scalar_subquery()
        taken = {"worker_id": worker_id, "attempt": jobs.c.attempt + 1, "beat_at": _now()}
        claim = _move(QUEUED, RUNNING, **taken).where(jobs.c.operation_id == oldest)
        with self._store.writing() as connection:
            row = connection.execute(claim.returning(*jobs.c)).first()
            if row is None:
                return None
            if row.started_at is None:
                started = update(jobs).where(jobs.c.operation_id == row.operation_id)
                connection.execute(started.values(started_at=row.beat_at))
            model_id = connection.execute(
                select(tuned_models.c.id).where(tuned_models.c.uid == row.tuned_model_uid)
            ).scalar_one()
        return self._to_job(row, model_id)

    def beat(self, job: Job, finished: Sequence[Snapshot] = ()) -> Verdict:
        """Write a heartbeat and the steps that finished since the last one.

        Steps already stored are ignored: a resumed job repeats some, with the same losses. Raises JobLost.
        """
        with self._store.writing() as connection:
            row = _require_ours(connection, update(jobs).values(beat_at=_now()), job)
            fresh = [snapshot for snapshot in finished if snapshot.step > row.completed_steps]
            if fresh:
                _insert_snapshots(connection, job.operation_id, fresh)
        return Verdict.CANCEL if row.cancel_requested else Verdict.CONTINUE

    def settle(self, job: Job, outcome: Outcome) -> None:
        """End the job and, in the same transaction, make its model ACTIVE or FAILED. Raises JobLost."""
        state, error = _ending(outcome)
        digest = None if isinstance(outcome, Failed) else outcome.adapter_digest
        now = _now()
        with self._store.writing() as connection:
            row = _require_ours(connection, _move(RUNNING, state, completed_at=now, **error), job)
            _set_model_state(connection, row.tuned_model_uid, now, digest)

    def note_crashes(self, job: Job, record: Mapping[str, Any]) -> None:
        """Store the worker's record of earlier attempts' crashes for the next attempt. Raises JobLost."""
        with self._store.writing() as connection:
            _require_ours(connection, update(jobs).values(crash_record=dict(record)), job)

    def release(self, job: Job) -> None:
        """Return the job to the queue for the next worker to resume, because this one must stop. Raises JobLost."""
        with self._store.writing() as connection:
            _require_ours(connection, _move(RUNNING, QUEUED, worker_id=None), job)

    def list_running(self, base_id: str = "") -> list[Running]:
        """Return the heartbeat of every running job, or of those on one base, to be compared with later ones."""
        query = select(jobs.c.operation_id, jobs.c.worker_id, jobs.c.attempt, jobs.c.beat_at)
        query = query.where(jobs.c.state == RUNNING)
        if base_id:
            query = query.where(jobs.c.base_id == base_id)
        with self._store.reading() as connection:
            return [Running(*row) for row in connection.execute(query)]

    def list_bases(self) -> list[str]:
        """Return the bases that have waiting or running jobs."""
        unended = jobs.c.state.in_((QUEUED, RUNNING))
        with self._store.reading() as connection:
            return list(connection.execute(select(jobs.c.base_id).where(unended).distinct()).scalars())

    def rescue(self, silent: Running) -> bool:
        """Return a silent worker's job to the queue; False if the worker has beaten in the meantime."""
        same = (
            jobs.c.operation_id == silent.operation_id,
            jobs.c.attempt == silent.attempt,
            jobs.c.beat_at == silent.beat_at,
        )
        back = _move(RUNNING, QUEUED, worker_id=None, crashes=jobs.c.crashes + 1).where(*same)
        with self._store.writing() as connection:
            return connection.execute(back).rowcount > 0

    def has_waiting(self, base_id: str) -> bool:
        """Tell whether a job of this base is waiting."""
        waiting = (
            select(jobs.c.operation_id).where(jobs.c.state == QUEUED, jobs.c.base_id == base_id).limit(1)
        )
        with self._store.reading() as connection:
            return connection.execute(waiting).first() is not None

    def cancel(self, operation_id: str) -> None:
        """Request that a job ends. Idempotent; a job that has already ended does not change.

        A job that has not started ends here. A running one is ended by its worker at the next beat. A job that was
        started and waits for a new worker is resumed only to save what it has learned.
        """
        mine = jobs.c.operation_id == operation_id
        now = _now()
        _, error = _ending(Cancelled())
        unbegun = _move(QUEUED, CANCELLED, completed_at=now, **error).where(mine, jobs.c.completed_steps == 0)
        with self._store.writing() as connection:
            row = connection.execute(unbegun.returning(jobs.c.tuned_model_uid)).first()
            if row is not None:
                _set_model_state(connection, row.tuned_model_uid, now, None)
                return
            unended = jobs.c.state.in_((QUEUED, RUNNING))
            connection.execute(update(jobs).where(mine, unended).values(cancel_requested=True))

    def _to_job(self, row: Row[Any], tuned_model_id: str) -> Job:
        return Job(
            operation_id=row.operation_id,
            tuned_model_id=tuned_model_id,
            base_id=row.base_id,
            attempt=row.attempt,
            artifacts=self._store.artifacts.open(artifacts_name(tuned_model_id, row.operation_id)),
            epoch_count=row.epoch_count,
            batch_size=row.batch_size,
            learning_rate=row.learning_rate,
            total_steps=row.total_steps,
            completed_steps=row.completed_steps,
            num_examples=row.num_examples,
            num_tokens=row.num_tokens,
            seed=row.seed,
            continues=row.continues,
            created_at=row.created_at,
            crashes=row.crashes,
            crash_record=row.crash_record,
        )


def new_job(base_id: str, created_at: datetime, **values: Any) -> dict[str, Any]:
    """Return the row of a new, waiting job for store.create_tuned_model.

    `values` are its hyperparameters, sizes and seed.
    """
    return {
        "operation_id": secrets.token_hex(6),
        "base_id": base_id,
        "state": QUEUED,
        "completed_steps": 0,
        "attempt": 0,
        "crashes": 0,
        "cancel_requested": False,
        "created_at": created_at,
        **values,
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _move(before: str, after: str, **values: Any) -> Update:
    assert after in MOVES[before]
    return update(jobs).where(jobs.c.state == before).values(state=after, **values)


def _require_ours(connection: Connection, change: Update, job: Job) -> Row[Any]:
    """Change the job's row if this attempt still holds it, and return the row. Raises JobLost."""
    ours = (
        jobs.c.operation_id == job.operation_id,
        jobs.c.attempt == job.attempt,
        jobs.c.state == RUNNING,
    )
    row = connection.execute(change.where(*ours).returning(*jobs.c)).first()
    if row is None:
        raise JobLost(f"{job.tuned_model_id}, attempt {job.attempt}: the job was taken away.")
    return row


def _insert_snapshots(connection: Connection, operation_id: str, fresh: Sequence[Snapshot]) -> None:
    rows = [
        {
            "operation_id": operation_id,
            "step": snapshot.step,
            "epoch": snapshot.epoch,
            "mean_loss": snapshot.mean_loss,
            "computed_at": snapshot.computed_at,
        }
        for snapshot in fresh
    ]
    connection.execute(insert(snapshots), rows)
    last = max(snapshot.step for snapshot in fresh)
    connection.execute(update(jobs).where(jobs.c.operation_id == operation_id).values(completed_steps=last))


def _ending(outcome: Outcome) -> tuple[str, Mapping[str, Any]]:
    """Return the job's final state, and the error code and message for its operation."""
    if isinstance(outcome, Succeeded):
        return SUCCEEDED, {}
    if isinstance(outcome, Failed):
        return FAILED, {"error_code": outcome.code.number, "error_message": outcome.message}
    return CANCELLED, {"error_code": Code.CANCELLED.number, "error_message": "The tuning job was cancelled."}


def _set_model_state(connection: Connection, uid: int, now: datetime, adapter_digest: str | None) -> None:
    state = "ACTIVE" if adapter_digest else "FAILED"
    change = update(tuned_models).where(tuned_models.c.uid == uid)
    connection.execute(change.values(state=state, update_time=now, adapter_digest=adapter_digest))
