"""What is noted of a host's engines and trainers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from overtone.store.processes import Processes, ProcessRow
from overtone.store.store import Store


def row(store: Store) -> ProcessRow:
    (found,) = store.processes.list_all()
    return found


def test_who_is_wanted_again_is_noted_again(store: Store) -> None:
    store.processes.want("tiny", "engine")
    first = row(store)
    store.processes.want("tiny", "engine")
    assert first.wanted_at is not None and row(store).wanted_at is not None
    assert first.wanted_at < row(store).wanted_at  # type: ignore[operator]
    assert first.pid is None


def test_a_process_that_runs_has_a_start_and_memory_until_it_stops(store: Store) -> None:
    store.processes.want("tiny", "engine")
    store.processes.note_running("tiny", "engine", 7, 1000)
    started_at = row(store).started_at
    store.processes.note_running("tiny", "engine", 7, 3000)
    assert (row(store).pid, row(store).started_at, row(store).memory_bytes) == (7, started_at, 3000)
    assert store.processes.list_bases("engine") == ["tiny"]
    assert store.processes.list_bases("trainer") == []
    store.processes.note_stopped("tiny", "engine")
    assert (row(store).pid, row(store).started_at, row(store).memory_bytes) == (None, None, None)
    assert row(store).wanted_at is not None
    assert store.processes.list_bases("engine") == []


def test_a_process_that_was_started_again_has_a_new_start(store: Store) -> None:
    store.processes.note_running("tiny", "engine", 7, None)
    before = row(store)
    store.processes.note_running("tiny", "engine", 8, None)
    assert before.started_at is not None and row(store).started_at is not None
    assert row(store).started_at > before.started_at  # type: ignore[operator]


def test_another_host_has_rows_of_its_own(store: Store) -> None:
    elsewhere = Processes(store, "elsewhere")
    elsewhere.note_running("tiny", "engine", 7, None)
    assert store.processes.list_all() == []
    assert elsewhere.list_bases("engine") == ["tiny"]


def test_many_may_want_the_same_for_the_first_time(store: Store) -> None:
    with ThreadPoolExecutor(8) as callers:
        list(callers.map(lambda _: store.processes.want("tiny", "engine"), range(16)))
    assert len(store.processes.list_all()) == 1
