"""A Postgres server that goes away under a running job: the job waits, and nothing is lost or blamed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from overtone.errors import Unavailable
from overtone.jobs.queue import Queue
from overtone.store.store import Store
from overtone.trainer import trainer
from tests.patience import HANG_S, wait_until
from tests.postgres import PostgresServer
from tests.tiny import make_base
from tests.trainer.test_trainer import Bench

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.remove()


def test_a_job_outlives_an_outage_of_its_database(tmp_path: Path, server: PostgresServer) -> None:
    base = make_base(tmp_path / "bases")
    with closing(Bench(tmp_path, base)) as bench:
        bench.settings = replace(bench.settings, database_url=server.url)
        bench.store.close()
        bench.store = Store(server.url, tmp_path / "elsewhere" / "tuned")
        bench.queue = Queue(bench.store)
        for name in ("a", "bystander"):
            bench.add(name, epoch_count=400, total_steps=1000)
        stop = threading.Event()
        thread = threading.Thread(target=trainer.run, args=(bench.settings, bench.queue, base, stop))
        thread.start()
        wait_until(lambda: bench.snapshots("a"))

        server.stop()
        with pytest.raises(Unavailable, match="does not answer"):
            bench.row("a")
        server.start()

        wait_until(lambda: {bench.row(name).state for name in ("a", "bystander")} == {"ACTIVE"})
        stop.set()
        thread.join(HANG_S)
        assert [snapshot.step for snapshot in bench.snapshots("a")] == list(range(1, 1001))


def test_a_database_that_is_away_at_the_start_is_said_so(server: PostgresServer, tmp_path: Path) -> None:
    server.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        Store(server.url, tmp_path / "tuned")
