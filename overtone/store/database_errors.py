"""Translates a database's errors, by who must act.

An unreachable or busy database recovers by itself (Unavailable); a full disk needs room (ResourceExhausted); a
damaged database needs its operator (INTERNAL). Postgres identifies its errors by SQLSTATE
(https://www.postgresql.org/docs/current/errcodes-appendix.html), SQLite by the low byte of a number
(https://www.sqlite.org/rescode.html).
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from overtone.errors import ApiError, Code, ResourceExhausted, Unavailable

BUSY_TIMEOUT_S = 30.0
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
FULL = ("53100", sqlite3.SQLITE_FULL)
BUSY = ("40001", "40P01", "55P03", sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
DAMAGED = ("XX001", "XX002", sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
UNUSABLE = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
AWAY_CLASSES = ("08", "53", "57")  # Postgres: connections, resources, an operator's interventions
AWAY = "The database does not answer."


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors of the database and its disk into ApiErrors. Errors of the statement itself pass unchanged."""
    try:
        yield
    except (OSError, DBAPIError, PoolTimeout) as error:
        plain = _translate(error)
        if plain is None:
            raise
        raise plain from error


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error of the operating system or of the database means that the disk is full."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    return isinstance(error, DBAPIError) and _code(error) in FULL


def _translate(error: OSError | DBAPIError | PoolTimeout) -> ApiError | None:
    if is_disk_full(error):
        return ResourceExhausted(
            "The disk that holds Overtone's data is full. Free some space and send the request again."
        )
    if isinstance(error, OSError):
        return ApiError(f"Overtone cannot write its data: {error.strerror}.", code=Code.INTERNAL)
    if isinstance(error, PoolTimeout) or _code(error) in BUSY:
        return Unavailable(f"The database was busy for more than {BUSY_TIMEOUT_S:.0f} s.")
    if _is_away(error):
        return Unavailable(AWAY)
    if _code(error) in DAMAGED:
        return ApiError(f"The database is damaged ({error.orig}). Restore it from a backup.")
    if _code(error) in UNUSABLE:
        return ApiError(f"The database cannot be used: {error.orig}.")
    return None


def _code(error: DBAPIError) -> str | int | None:
    """Return Postgres' SQLSTATE or SQLite's primary result code."""
    if isinstance(error.orig, sqlite3.Error):
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return getattr(error.orig, "sqlstate", None)


def _is_away(error: DBAPIError) -> bool:
    """Tell whether the server cannot be reached. An error without a code means a lost connection."""
    code = _code(error)
    if isinstance(code, int):
        return False
    if code is None:
        return isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or code[:2] in AWAY_CLASSES
