"""The engines and trainers of this host: which are wanted, and which run.

The API writes that an engine is wanted. The supervising process reads that, starts and stops processes, and writes
which ones run. Only its own host uses an engine or trainer, so each host has its own rows.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, insert, select, update

from overtone.store.database import Database
from overtone.store.tables import processes

COLUMNS = (processes.c.base_id, processes.c.kind, processes.c.wanted_at, processes.c.pid,
           processes.c.started_at, processes.c.memory_bytes)  # fmt: skip


@dataclass(frozen=True)
class ProcessRow:
    """The state of one base's engine or trainer."""

    base_id: str
    kind: str  # engine, trainer
    wanted_at: datetime | None  # when it was last wanted; it has been idle since then
    pid: int | None  # None: not running
    started_at: datetime | None
    memory_bytes: int | None  # resident size at the last measurement


class Processes:
    """The operations on a host's processes, one transaction each."""

    def __init__(self, database: Database, host: str = ""):
        """`host` defaults to this machine's name."""
        self._database = database
        self._host = host or socket.gethostname()

    def want(self, base_id: str, kind: str) -> None:
        """Record that a process is wanted now."""
        self._write(base_id, kind, wanted_at=datetime.now(UTC))

    def note_running(self, base_id: str, kind: str, pid: int, memory_bytes: int | None) -> None:
        """Record that a process runs, and its memory. Its start is when this pid is first recorded."""
        now = datetime.now(UTC)
        with self._database.writing() as connection:
            same = update(processes).where(*self._key(base_id, kind), processes.c.pid == pid)
            if connection.execute(same.values(memory_bytes=memory_bytes)).rowcount:
                return
        self._write(base_id, kind, pid=pid, started_at=now, memory_bytes=memory_bytes)

    def note_stopped(self, base_id: str, kind: str) -> None:
        """Record that a process no longer runs."""
        self._write(base_id, kind, pid=None, started_at=None, memory_bytes=None)

    def list_all(self) -> list[ProcessRow]:
        """Return the state of this host's processes."""
        with self._database.reading() as connection:
            found = connection.execute(select(*COLUMNS).where(processes.c.host == self._host))
            return [ProcessRow(*row) for row in found]

    def list_bases(self, kind: str) -> list[str]:
        """Return the bases that have a running process of this kind."""
        return [row.base_id for row in self.list_all() if row.kind == kind and row.pid is not None]

    def _write(self, base_id: str, kind: str, **values: Any) -> None:
        change = update(processes).where(*self._key(base_id, kind)).values(**values)
        with self._database.writing() as connection:
            if connection.execute(change).rowcount:
                return
        with (
            self._database.alone() as connection
        ):  # the first row of its key: two writers must not both insert it
            if not connection.execute(change).rowcount:
                key = {"host": self._host, "base_id": base_id, "kind": kind}
                connection.execute(insert(processes).values(**key, **values))

    def _key(self, base_id: str, kind: str) -> tuple[ColumnElement[bool], ...]:
        return (
            processes.c.host == self._host,
            processes.c.base_id == base_id,
            processes.c.kind == kind,
        )
