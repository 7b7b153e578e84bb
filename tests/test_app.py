"""What beside the processes themselves is put together in app.py."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from overtone import app
from overtone.bases.registry import Card
from overtone.config import Settings
from overtone.errors import ResourceExhausted, Unavailable
from overtone.service.residency import ENGINE, Process
from overtone.store.processes import Processes, ProcessRow
from overtone.store.store import Store
from tests.patience import HANG_S, wait_until
from tests.store.databases import new_store

OTHER = Process("other", ENGINE)


def test_a_database_that_cannot_be_opened_at_first_is_opened_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path)
    settings = Settings(data=tmp_path, database_url=store.url)
    store.close()
    for name in ("LOOK_S", "FIRST_LOOK_S"):
        monkeypatch.setattr(app, name, 0.01)
    open_store, failures = app._open_store, [ResourceExhausted("The disk is full.")]

    def open_or_fail(settings: Settings, stop: threading.Event) -> Store | None:
        if failures:
            raise failures.pop()
        return open_store(settings, stop)

    monkeypatch.setattr(app, "_open_store", open_or_fail)
    stop = threading.Event()
    published: list[Collection[Process]] = []

    def publish(processes: Collection[Process]) -> None:
        published.append(processes)
        stop.set()

    app.follow_demand(settings, dict, publish, stop)
    assert published == [set()]


def test_a_database_that_goes_away_stops_no_process_and_is_followed_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = new_store(tmp_path)
    settings = Settings(data=tmp_path, database_url=store.url)
    (settings.bases / "other").mkdir(parents=True)
    Card("other", "Other", "For tests", base_id="other").save(settings.bases / "other")
    for name in ("LOOK_S", "FIRST_LOOK_S"):
        monkeypatch.setattr(app, name, 0.01)
    published: list[Collection[Process]] = []
    stop = threading.Event()
    follower = threading.Thread(target=app.follow_demand, args=(settings, dict, published.append, stop))
    follower.start()
    wait_until(lambda: published)
    store.processes.want(*OTHER)
    wait_until(lambda: published[-1] == {OTHER})

    def refuse(self: Processes) -> list[ProcessRow]:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as away:
        away.setattr(Processes, "list_all", refuse)
        wait_until(lambda: "No other base is started or stopped at the moment" in caplog.text)
        so_far = len(published)
        assert published[-1] == {OTHER}
    wait_until(lambda: len(published) > so_far)
    assert published[-1] == {OTHER}
    assert caplog.text.count("No other base is started") == 1

    stop.set()
    follower.join(HANG_S)
    store.close()
