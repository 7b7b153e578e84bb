"""The connection to the database: transactions, SQLite's settings, the schema's version.

Several processes have it open at once. A writing transaction takes SQLite's write lock at its start, so
that it never fails half-way because another process wrote in between; readers block nobody.
"""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError

from overtone.errors import ApiError, Code, OvertoneError, ResourceExhausted, Unavailable

SCHEMA_VERSION = "0001"  # the newest migration; a test holds it against the folder
BUSY_TIMEOUT_S = 30.0
WRITERS_LOCK = 7_305_211  # any number: Postgres' name for the lock that SQLite has by nature
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Database:
    """One database, opened and brought to the newest schema. Any process may open it, at any time."""

    def __init__(self, url: str):
        self.url = url
        self._engine = _open(url)
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads; on SQLite each statement sees a moment of its own."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: all of it or nothing, and on the disk when it returns.

        Raises ResourceExhausted when the disk is full, Unavailable when others held the database for too
        long.
        """
        with _plain_errors(), self._engine.execution_options(writes=True).begin() as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A writing transaction beside which no other `alone` runs. SQLite's writers are always alone."""
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITERS_LOCK})
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _migrate(self) -> None:
        """Bring the schema up to date. Alembic is imported only when it is not: that takes half a second."""
        with self.reading() as connection:
            if _version(connection) == SCHEMA_VERSION:
                return
        with self.alone() as connection:
            version = _version(connection)
            if version is None or version < SCHEMA_VERSION:
                _upgrade(connection)
            elif version > SCHEMA_VERSION:
                raise OvertoneError(
                    f"{self.url} was written by a newer Overtone: its schema is {version}, "
                    f"and this one knows {SCHEMA_VERSION}."
                )


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error of the operating system or of the database means that no space is left."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    return isinstance(error, DatabaseError) and "disk is full" in str(error.orig)


def _open(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url), pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})
    if engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transaction by itself: _begin_sqlite does
    _set_journal(connection)
    for setting in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {setting}")


def _set_journal(connection: Any) -> None:
    """Switch to a write-ahead log. Two who open a new file at once are refused and not made to wait."""
    give_up_at = monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if monotonic() > give_up_at:
                raise
            sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    """Begin a writing transaction by taking the lock. A reading one needs no beginning."""
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, DatabaseError) as error:
        if is_disk_full(error):
            raise ResourceExhausted(
                "The disk that holds Overtone's data is full. Make room on it and send the request again."
            ) from error
        if "database is locked" in str(error):
            raise Unavailable(f"The database was busy for more than {BUSY_TIMEOUT_S:.0f} s.") from error
        if isinstance(error, OSError):
            raise ApiError(
                f"Overtone cannot write its data: {error.strerror}.", code=Code.INTERNAL
            ) from error
        raise


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
