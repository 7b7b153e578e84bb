"""Which workers have fallen silent, by this process' own clock: wall clocks are set, and differ between machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic

from overtone.jobs.queue import Running


class Liveness:
    """Remembers when each running job's sign of life last changed."""

    def __init__(self, clock: Callable[[], float] = monotonic):
        self._clock = clock
        self._seen: dict[Running, float] = {}  # a sign of life → when it was first seen

    def find_silent(self, running: Iterable[Running], silence_s: float) -> list[Running]:
        """Return the jobs whose sign of life has been the same for so long, as far as we have watched."""
        now = self._clock()
        self._seen = {each: self._seen.get(each, now) for each in running}
        return [each for each, since in self._seen.items() if now - since >= silence_s]
