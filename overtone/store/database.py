"""The connection to the database: transactions, SQLite's settings, the schema's version.

Several processes have it open at once. A writing transaction takes SQLite's write lock at its start, so it never
fails half-way because another process wrote in between. Readers block nobody. database_errors.py translates the
database's errors, for reads and writes alike.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from overtone.config import hide_password
from overtone.errors import ApiError, InvalidArgument, OvertoneError, Unavailable
from overtone.store.database_errors import BUSY_TIMEOUT_S, plain_errors

SCHEMA_VERSION = "0005"  # the newest migration; a test holds it against the folder
CONNECT_TIMEOUT_S = 10
WRITERS_LOCK = 7_305_211  # the key (any number) of a Postgres advisory lock, in place of SQLite's write lock


class Database:
    """One database, opened and migrated to the newest schema. Any process may open it, at any time.

    Raises Unavailable while a server does not answer, and OvertoneError if it is not an Overtone database.
    """

    def __init__(self, url: str):
        self.url = url
        self._engine = _open(url)
        try:
            self._migrate()
        except Unavailable:
            self.close()
            raise
        except ApiError as error:
            self.close()
            raise OvertoneError(f"The database {self.shown_url} cannot be opened. {error}") from error
        except BaseException:
            self.close()
            raise

    @property
    def shown_url(self) -> str:
        """The URL without its password, for messages and logs."""
        return hide_password(self.url)

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads. On SQLite each statement sees its own snapshot of the data.

        Raises Unavailable when the database does not answer.
        """
        with plain_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes: all or nothing, and on the disk when it returns.

        Raises ResourceExhausted if the disk is full, Unavailable if the database does not answer or other
        processes locked it for too long.
        """
        with plain_errors(), self._engine.execution_options(writes=True).begin() as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A writing transaction that excludes every other `alone`. On SQLite all writers exclude each other."""
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(text(f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT_S:.0f}s'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": WRITERS_LOCK})
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _migrate(self) -> None:
        """Migrate to the newest schema. Alembic takes half a second to import, so only if that is needed."""
        with self.reading() as connection:
            if _version(connection) == SCHEMA_VERSION:
                return
        with self.alone() as connection:
            version = _version(connection)
            if version is None or version < SCHEMA_VERSION:
                _upgrade(connection)
            elif version > SCHEMA_VERSION:
                raise OvertoneError(
                    f"{self.shown_url} was written by a newer version of Overtone: its schema is {version}, "
                    f"and this version supports {SCHEMA_VERSION}. Install the newer version, or restore a backup."
                )


def is_new(url: str) -> bool:
    """Tell whether opening a database would create it: the SQLite file is missing or empty."""
    path = url.removeprefix("sqlite:///")
    return path != url and not (Path(path).exists() and Path(path).stat().st_size)


def _open(url: str) -> Engine:
    try:
        engine = _create_engine(url)
    except (ArgumentError, NoSuchModuleError) as error:
        raise OvertoneError(
            f"OVERTONE_DATABASE_URL is {hide_password(url)!r}, which is not a database URL. Write it like "
            "sqlite:////folder/overtone.db or postgresql://user:password@host/name."
        ) from error
    except ModuleNotFoundError as error:
        raise OvertoneError(
            f"The database {hide_password(url)} needs a driver that is not installed ({error.name}). "
            "For Postgres: pip install 'overtone[postgres]'"
        ) from error
    event.listen(engine, "before_cursor_execute", _refuse_nul)
    return engine


def _create_engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(
            re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url),
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
        )
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})
    if engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _refuse_nul(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> None:
    """Refuse the NUL character, which Postgres cannot store, on every database alike."""
    for row in parameters if many else (parameters,):
        for value in row.values() if isinstance(row, dict) else row:
            if isinstance(value, str) and "\0" in value:
                raise InvalidArgument(
                    f"The text {value[:40]!r} contains a NUL character (U+0000), which cannot be stored. "
                    "Remove it and send the request again."
                )


def _set_up_sqlite(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the driver starts no transactions by itself: _begin_sqlite does
    _set_journal(connection)
    for setting in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {setting}")


def _set_journal(connection: Any) -> None:
    """Switch to a write-ahead log. SQLite refuses this, instead of waiting, if two processes open a new file."""
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
    """Begin a writing transaction by taking the write lock. Reads need no explicit begin."""
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


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
