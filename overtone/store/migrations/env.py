"""Alembic's entry. The service hands in its connection, inside the transaction that it has begun.

A new migration: `alembic -c overtone/store/migrations/alembic.ini revision --autogenerate -m "what changes"`,
which compares the tables with a scratch database; then raise SCHEMA_VERSION in database.py.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine

from overtone.store.tables import metadata


def _migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    _migrate(connection)
else:
    with create_engine(context.config.get_main_option("sqlalchemy.url") or "").begin() as scratch:
        _migrate(scratch)
