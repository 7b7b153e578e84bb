"""Which workers have fallen silent, by this process' own clock: wall clocks are set, and differ between machines.

While nobody listened, because the database was away, nobody could be heard: that is no silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic

from overtone.jobs.queue import Running

LONGEST_LOOK_S = 10.0  # more between two looks counts as this much


class Liveness:
    """Remembers how long each running job's sign of life has been the same."""

    def __init__(self, clock: Callable[[], float] = monotonic):
        self._clock = clock
        self._looked_at = clock()
        self._silent_s: dict[Running, float] = {}  # by the last sign of life

    def find_silent(self, running: Iterable[Running], silence_s: float) -> list[Running]:
        """Return the jobs whose sign of life has been the same for so long, as far as we have watched."""
        now = self._clock()
        passed = min(now - self._looked_at, LONGEST_LOOK_S)
        self._looked_at = now
        self._silent_s = {
            each: self._silent_s[each] + passed if each in self._silent_s else 0.0 for each in running
        }
        return [each for each, silent_s in self._silent_s.items() if silent_s >= silence_s]
