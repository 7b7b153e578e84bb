"""Who is in memory: what is in use stays, what is wanted comes, what is idle goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from overtone.errors import Unavailable
from overtone.jobs.queue import Queue, Succeeded
from overtone.service.residency import (
    ENGINE,
    IN_USE_S,
    TRAINER,
    Demand,
    Process,
    Residency,
    choose,
    memory_of,
)
from overtone.store.processes import Processes, ProcessRow
from overtone.store.store import Store
from tests.store.databases import new_store
from tests.store.rows import add_model

IDLE_S = 600.0
IN_USE, SHORTLY, LONG_AGO = 0.0, 60.0, 2 * IDLE_S


def demand(base_id: str, quiet_s: float, resident: bool, kind: str = ENGINE) -> Demand:
    return Demand(Process(base_id, kind), quiet_s, resident)


def names(chosen: set[Process]) -> str:
    return " ".join(sorted(process.base_id for process in chosen))


@pytest.mark.parametrize(
    ("demands", "expected"),
    [
        ([demand("a", IN_USE, False)], "a"),
        ([demand("a", SHORTLY, False)], ""),  # whoever wanted it has gone
        ([demand("a", SHORTLY, True)], "a"),
        ([demand("a", LONG_AGO, True)], ""),
        ([demand("a", SHORTLY, True), demand("b", SHORTLY + 1, True), demand("c", IN_USE, False)], "a c"),
        ([demand("a", IN_USE, True), demand("b", IN_USE, True), demand("c", IN_USE, False)], "a b"),
        ([demand("b", IN_USE, True), demand("a", IN_USE, False), demand("c", IN_USE, True)], "b c"),
        ([demand("a", SHORTLY, True), demand("b", IN_USE, False), demand("c", IN_USE, False)], "b c"),
    ],
)
def test_of_more_bases_than_there_is_room_for_the_least_recently_used_idle_one_goes(
    demands: list[Demand], expected: str
) -> None:
    assert names(choose(demands, 2, IDLE_S)) == expected


def test_a_base_s_engine_and_trainer_need_one_place_and_go_one_by_one() -> None:
    both = [demand("a", IN_USE, True), demand("a", LONG_AGO, True, TRAINER)]
    assert choose(both, 1, IDLE_S) == {Process("a", ENGINE)}
    both = [demand("a", SHORTLY, True), demand("a", IN_USE, False, TRAINER)]
    assert choose(both, 1, IDLE_S) == {Process("a", ENGINE), Process("a", TRAINER)}


@dataclass
class House:
    """A residency with a clock of its own, whose processes start and stop as it says."""

    store: Store
    max_bases: int = 1
    now: float = 0.0
    bases: set[str] = field(default_factory=lambda: {"own", "a", "b"})
    running: dict[Process, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queue = Queue(self.store)
        self.processes = Processes(self.store)
        self.residency = Residency(
            self.processes,
            self.queue,
            lambda base_id: base_id in self.bases,
            "own",
            self.max_bases,
            IDLE_S,
            lambda: self.now,
        )
        self.look()

    def look(self, passed_s: float = 0.0) -> set[Process]:
        self.now += passed_s
        chosen = self.residency.look({Process("own", ENGINE): 1, **self.running})
        self.running = {process: 100 + number for number, process in enumerate(sorted(chosen))}
        return chosen

    def wait(self, seconds: float) -> set[Process]:
        """Look again and again for so long, as the service does."""
        chosen = self.look()
        for _ in range(int(seconds)):
            chosen = self.look(1.0)
        return chosen


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    store = new_store(tmp_path)
    yield House(store)
    store.close()


def test_a_call_brings_its_engine_and_it_goes_when_idle(house: House) -> None:
    assert house.look() == set()
    house.processes.want("a", ENGINE)
    assert house.look(1.0) == {Process("a", ENGINE)}
    assert house.wait(IDLE_S - 2) == {Process("a", ENGINE)}
    assert house.wait(3) == set()


def test_a_job_brings_its_trainer_which_stays_until_it_is_idle(house: House) -> None:
    add_model(house.store, "m", base_id="a")
    assert house.look() == {Process("a", TRAINER)}
    job = house.queue.claim("w", "a")
    assert job is not None
    assert house.wait(2 * IDLE_S) == {Process("a", TRAINER)}
    house.queue.settle(job, Succeeded("digest"))
    assert house.wait(IDLE_S - 2) == {Process("a", TRAINER)}
    assert house.wait(3) == set()


def test_an_idle_base_makes_room_for_one_that_is_wanted_and_one_in_use_does_not(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.processes.want("a", ENGINE)
    house.look()
    house.processes.want("b", ENGINE)
    assert house.look(1.0) == {Process("a", ENGINE)}
    assert "models/b has to wait: 1 other bases are in memory and in use" in caplog.text
    house.now += IN_USE_S
    house.processes.want("b", ENGINE)
    assert house.look() == {Process("b", ENGINE)}


def test_the_own_base_and_one_that_was_removed_are_no_concern(house: House) -> None:
    house.bases.remove("a")
    house.processes.want("own", ENGINE)
    house.processes.want("a", ENGINE)
    add_model(house.store, "m", base_id="a")
    assert house.look() == set()


def test_what_was_wanted_before_the_service_started_is_not_wanted_now(house: House) -> None:
    house.processes.want("a", ENGINE)
    restarted = House(house.store)
    assert restarted.look(1.0) == set()
    restarted.processes.want("a", ENGINE)
    assert restarted.look(1.0) == {Process("a", ENGINE)}


def test_time_in_which_nobody_could_be_heard_counts_for_little(house: House) -> None:
    house.processes.want("a", ENGINE)
    house.look()
    assert house.look(100 * IDLE_S) == {Process("a", ENGINE)}


def test_a_database_that_is_away_changes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.processes.want("a", ENGINE)
    house.look()

    def refuse() -> list[ProcessRow]:
        raise Unavailable("The database does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(house.processes, "list_all", refuse)
        with pytest.raises(Unavailable):
            house.look(2 * IDLE_S)
    assert house.look() == {Process("a", ENGINE)}


def test_what_runs_is_written_down_and_what_ran_before_a_crash_is_not_left_there(house: House) -> None:
    house.processes.note_running("b", ENGINE, 4711, None)  # by a service that was killed
    house.processes.want("a", ENGINE)
    house.look()
    house.look()
    pids: Mapping[str, int | None] = {row.base_id: row.pid for row in house.processes.list_all()}
    assert pids == {"own": 1, "a": 100, "b": None}


def test_memory_is_written_again_when_it_has_changed_by_an_eighth(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(measured: int) -> int | None:
        monkeypatch.setattr("overtone.service.residency.memory_of", lambda pid: measured)
        house.look()
        return next(row.memory_bytes for row in house.processes.list_all() if row.base_id == "own")

    assert [written(each) for each in (800, 899, 901, 800)] == [800, 800, 901, 901]


def test_a_process_that_has_ended_has_no_memory() -> None:
    assert memory_of(2**30) is None
