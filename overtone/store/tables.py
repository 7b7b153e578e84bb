"""The tables. The program's form of a row is one of the domain's dataclasses (domain/).

A tuned model and the job that makes it are two rows because they are used differently: every request reads the
model's row, and a worker writes the job's row every few seconds. The job is what Google calls an operation.
Deleting a model also deletes its job, its snapshots and its permissions.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    select,
)

from overtone.domain.tuning import TunedModel

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Time(TypeDecorator[datetime]):
    """A time, stored as microseconds since 1970: exact, sortable and the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + value * MICROSECOND


metadata = MetaData()
Serial = BigInteger().with_variant(Integer, "sqlite")  # SQLite autoincrements INTEGER columns only

meta = Table(
    "meta", metadata, Column("key", String(40), primary_key=True), Column("value", Text, nullable=False)
)

tuned_models = Table(
    "tuned_models",
    metadata,
    Column("uid", Serial, primary_key=True),  # increases with creation and is never reused, so pages go by it
    Column("id", String(63), nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("search_text", Text, nullable=False),  # display name and description, case-folded
    Column("base_model", Text, nullable=False),  # the id of the requested card
    Column("base_id", Text, nullable=False),  # the open base model
    Column("base_revision", Text, nullable=False),
    Column("source_tuned_model", Text),  # the parent's id; the parent may have been deleted
    Column("temperature", Float),
    Column("top_p", Float),
    Column("top_k", Integer),
    Column("reader_project_numbers", JSON, nullable=False),
    Column("state", String(10), nullable=False),  # CREATING, ACTIVE or FAILED; clients fail on any other
    Column("create_time", Time, nullable=False),
    Column("update_time", Time, nullable=False),
    Column("adapter_digest", Text),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    Column("operation_id", String(40), primary_key=True),
    Column("tuned_model_uid", Serial, ForeignKey("tuned_models.uid", ondelete="CASCADE"), nullable=False),
    Column("base_id", Text, nullable=False),
    Column("state", String(10), nullable=False),  # see jobs.queue.MOVES
    Column("epoch_count", Integer, nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("learning_rate", Float, nullable=False),
    Column("num_examples", Integer, nullable=False),
    Column("num_tokens", BigInteger, nullable=False),
    Column("total_steps", Integer, nullable=False),
    Column("completed_steps", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("continues", Boolean, nullable=False),  # starts from the adapter in its folder's source/
    Column("attempt", Integer, nullable=False),  # grows with each claim; every later write carries it
    Column("crashes", Integer, nullable=False),  # attempts that ended in a rescue
    Column("crash_record", JSON),  # trainer.attempts.CrashRecord
    Column("worker_id", Text),
    Column("beat_at", Time),
    Column("cancel_requested", Boolean, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("started_at", Time),
    Column("completed_at", Time),
    Column("error_code", Integer),  # a gRPC number
    Column("error_message", Text),
    UniqueConstraint("tuned_model_uid"),
    Index("jobs_by_state", "state", "base_id", "tuned_model_uid"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("operation_id", ForeignKey("jobs.operation_id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("epoch", Integer, nullable=False),
    Column("mean_loss", Float, nullable=False),
    Column("computed_at", Time, nullable=False),
)

permissions = Table(
    "permissions",
    metadata,
    Column("serial", Serial, primary_key=True),
    Column("tuned_model_uid", Serial, ForeignKey("tuned_models.uid", ondelete="CASCADE"), nullable=False),
    Column("id", String(40), nullable=False),
    Column("grantee_type", String(10), nullable=False),  # USER, GROUP, EVERYONE
    Column("email_address", Text, nullable=False),  # "" for EVERYONE
    Column("role", String(10), nullable=False),  # READER, WRITER, OWNER
    UniqueConstraint("tuned_model_uid", "id"),
    UniqueConstraint("tuned_model_uid", "grantee_type", "email_address"),
    Index("permissions_by_grantee", "grantee_type", "email_address", "tuned_model_uid", "role"),
    sqlite_autoincrement=True,
)

deleted_folders = Table(
    "deleted_folders",
    metadata,
    Column("name", Text, primary_key=True),  # of a deleted model; files that are left of it may be deleted
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),  # shown in lists; the key's first characters
    Column("digest", String(64), nullable=False, unique=True),  # of the key, which is not stored
    Column("email_address", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("created_at", Time, nullable=False),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_email", Text, primary_key=True),
    Column("member_email", Text, primary_key=True),
    Index("groups_by_member", "member_email", "group_email"),
)


processes = Table(
    "processes",
    metadata,
    Column("host", Text, primary_key=True),  # the machine that uses it
    Column("base_id", Text, primary_key=True),
    Column("kind", String(10), primary_key=True),  # engine, trainer
    Column("wanted_at", Time),  # when a call wanted it last
    Column("pid", Integer),  # of the running process, if there is one
    Column("started_at", Time),
    Column("memory_bytes", BigInteger),  # resident size at the last measurement
)


_JOB_FIELDS = {
    "operation_id", "epoch_count", "batch_size", "learning_rate", "num_examples", "total_steps",
    "completed_steps", "started_at", "completed_at", "error_code", "error_message",
}  # fmt: skip


OWNER_EMAIL = (
    select(permissions.c.email_address)
    .where(permissions.c.tuned_model_uid == tuned_models.c.uid, permissions.c.role == "OWNER")
    .scalar_subquery()
)


def _column_of(field: str) -> Any:
    if field == "job_state":
        return jobs.c.state.label(field)
    if field == "owner_email":
        return OWNER_EMAIL.label(field)
    return (jobs if field in _JOB_FIELDS else tuned_models).c[field]


TUNED_MODEL_COLUMNS: list[Any] = [_column_of(spec.name) for spec in fields(TunedModel)]
