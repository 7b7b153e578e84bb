"""Finds silent workers by this process's monotonic clock, because wall clocks are adjusted and differ by machine.

Time in which the database could not be reached does not count as silence: no heartbeat could have arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic

from overtone.jobs.queue import Running

LONGEST_LOOK_S = 10.0  # a longer time between two looks counts as this much


class Liveness:
    """Remembers for how long each running job's heartbeat has not changed."""

    def __init__(self, clock: Callable[[], float] = monotonic):
        self._clock = clock
        self._looked_at = clock()
        self._silent_s: dict[Running, float] = {}  # silence since the last heartbeat

    def find_silent(self, running: Iterable[Running], silence_s: float) -> list[Running]:
        """Return the jobs whose heartbeat has not changed for the limit, as far as this process has watched."""
        now = self._clock()
        passed = min(now - self._looked_at, LONGEST_LOOK_S)
        self._looked_at = now
        self._silent_s = {
            each: self._silent_s[each] + passed if each in self._silent_s else 0.0 for each in running
        }
        return [each for each, silent_s in self._silent_s.items() if silent_s >= silence_s]
