"""Silence is measured by one process' own clock, whatever the clocks on the wall say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from overtone.jobs.queue import Running
from overtone.trainer.liveness import Liveness

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that goes when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def running(beat_at: datetime, attempt: int = 1) -> Running:
    return Running("op", "worker", attempt, beat_at)


def test_a_job_is_silent_when_its_sign_of_life_stays_the_same() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    assert liveness.find_silent([running(NOON)], 60) == []
    for _ in range(11):
        clock.now += 5
        assert liveness.find_silent([running(NOON)], 60) == []
    clock.now += 5
    assert liveness.find_silent([running(NOON)], 60) == [running(NOON)]


def test_a_clock_that_was_set_back_or_forth_changes_nothing() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    for hours in (0, -1, 5, -30):
        for _ in range(10):
            clock.now += 5
            assert liveness.find_silent([running(NOON + timedelta(hours=hours))], 60) == []
    for _ in range(5):
        clock.now += 5
        silent = liveness.find_silent([running(NOON - timedelta(hours=30))], 60)
    assert silent != []


def test_while_nobody_could_listen_nobody_was_silent() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    liveness.find_silent([running(NOON)], 60)
    clock.now += 600  # the database was away
    assert liveness.find_silent([running(NOON)], 60) == []


def test_a_new_attempt_begins_anew() -> None:
    clock = Clock()
    liveness = Liveness(clock)
    liveness.find_silent([running(NOON)], 60)
    clock.now = 61
    assert liveness.find_silent([running(NOON, attempt=2)], 60) == []
