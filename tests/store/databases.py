"""New stores without the half second that the migrations take: one migrated database, copied.

SQLite, in the test's own folder. With OVERTONE_TEST_POSTGRES the same tests run on Postgres: on a server of their own
where it is `own`, else on the one whose URL it is, where databases may be made.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from overtone.store.database import Database
from overtone.store.store import Store

POSTGRES = os.environ.get("OVERTONE_TEST_POSTGRES", "")


def new_store(data: Path) -> Store:
    """Return a store in a data folder that has none yet."""
    return Store(_new_postgres() if POSTGRES else _new_sqlite(data), data / "tuned")


def _new_sqlite(data: Path) -> str:
    shutil.copy(f"{_sqlite_template().name}/overtone.db", data / "overtone.db")
    return f"sqlite:///{data}/overtone.db"


@cache
def _sqlite_template() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    Database(f"sqlite:///{folder.name}/overtone.db").close()
    return folder


def _new_postgres() -> str:
    return _create(f"test_{secrets.token_hex(6)}", _postgres_template())


@cache
def _postgres_template() -> str:
    name = f"template_{secrets.token_hex(6)}"
    Database(_create(name, "template0")).close()
    return name


@cache
def _server_url() -> str:
    if POSTGRES != "own":
        return POSTGRES
    from tests.postgres import PostgresServer

    server = PostgresServer()
    atexit.register(server.remove)
    server.start()
    return server.url


def _create(name: str, template: str) -> str:
    url = make_url(_server_url())
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    server.dispose()
    return url.set(database=name).render_as_string(hide_password=False)
