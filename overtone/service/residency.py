"""Which other bases than the service's own are in memory: loaded when wanted, given back when idle or in the way.

A base's engine is wanted by calls (store/processes.py), its trainer by jobs (the queue is asked). Nothing here
starts or stops anything: `look` says which processes should run, and the supervisor sees to it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from overtone.jobs.queue import Queue
from overtone.store.processes import Processes, ProcessRow

ENGINE, TRAINER = "engine", "trainer"
IN_USE_S = 6.0  # who uses a process says so every 2 s (engine/engines.py); missed three times, it is idle
LONGEST_LOOK_S = 10.0  # more between two looks counts as this much: nobody could be heard meanwhile
NEVER = float("inf")

log = logging.getLogger("overtone.serve")


class Process(NamedTuple):
    """One base's engine or trainer."""

    base_id: str
    kind: str


@dataclass(frozen=True)
class Demand:
    """How long ago a process was wanted last, and whether it runs or is about to."""

    process: Process
    quiet_s: float
    resident: bool

    @property
    def in_use(self) -> bool:
        return self.quiet_s < IN_USE_S


def choose(demands: Iterable[Demand], max_bases: int, idle_s: float) -> set[Process]:
    """Return the processes that should run, of at most so many bases.

    First the bases in memory that are in use, which are never taken from under a call or a job; then those that are
    wanted and not in memory; then the idle ones, the most recently used first. A process goes after `idle_s` without
    use, whether or not its base's other process stays.
    """
    wanted = [each for each in demands if each.in_use or (each.resident and each.quiet_s < idle_s)]
    bases: dict[str, list[Demand]] = {}
    for each in wanted:
        bases.setdefault(each.process.base_id, []).append(each)
    kept = sorted(bases, key=lambda base_id: (*_urgency(bases[base_id]), base_id))[: max(max_bases, 0)]
    return {each.process for base_id in kept for each in bases[base_id]}


def _urgency(of_base: list[Demand]) -> tuple[int, float]:
    """Return what a base is sorted by: its class, then how long it has been quiet."""
    in_use = any(each.in_use for each in of_base)
    resident = any(each.resident for each in of_base)
    if in_use:
        return (0, 0.0) if resident else (1, 0.0)
    return 2, min(each.quiet_s for each in of_base)


class Residency:
    """Follows what is wanted on this host, and decides which processes of other bases run."""

    def __init__(
        self,
        processes: Processes,
        queue: Queue,
        has_base: Callable[[str], bool],
        own_base: str,
        max_bases: int,
        idle_s: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._processes = processes
        self._queue = queue
        self._has_base = has_base
        self._own_base = own_base
        self._max_bases = max_bases
        self._idle_s = idle_s
        self._clock = clock
        self._looked_at: float | None = None
        self._rows: dict[Process, ProcessRow] = {}  # as of the last look
        self._quiet_s: dict[Process, float] = {}
        self._chosen: set[Process] = set()
        self._kept_waiting: set[str] = set()  # bases, as last told

    def look(self, pids: Mapping[Process, int]) -> set[Process]:
        """Write down what runs, and return which processes of other bases should. Raises ApiError, changing nothing.

        `pids` are the processes that run at the moment, those of the own base among them.
        """
        rows = {Process(row.base_id, row.kind): row for row in self._processes.list_all()}
        at_work = {Process(base_id, TRAINER) for base_id in self._queue.list_bases()}
        self._note(rows, pids)
        self._listen(rows, at_work)
        demands = [
            Demand(process, quiet_s, process in self._chosen)
            for process, quiet_s in self._quiet_s.items()
            if process.base_id != self._own_base and self._has_base(process.base_id)
        ]
        chosen = choose(demands, self._max_bases, self._idle_s)
        self._tell(demands, chosen)
        self._chosen = chosen
        return chosen

    def _note(self, rows: Mapping[Process, ProcessRow], pids: Mapping[Process, int]) -> None:
        for process, pid in pids.items():
            row = rows.get(process)
            memory_bytes = memory_of(pid)
            if row is None or row.pid != pid or _differ(row.memory_bytes, memory_bytes):
                self._processes.note_running(*process, pid, memory_bytes)
        for process, row in rows.items():
            if row.pid is not None and process not in pids:
                self._processes.note_stopped(*process)

    def _listen(self, rows: Mapping[Process, ProcessRow], at_work: set[Process]) -> None:
        """Count for how long each process has not been wanted, by our own clock, while we listened.

        What was wanted before the first look is not: those who wanted it are gone, or will say so again.
        """
        now = self._clock()
        first = self._looked_at is None
        passed_s = 0.0 if self._looked_at is None else min(now - self._looked_at, LONGEST_LOOK_S)
        self._looked_at = now
        for process in {*rows, *at_work, *self._quiet_s}:
            if process in at_work or (not first and self._is_wanted_again(process, rows)):
                self._quiet_s[process] = 0.0
            else:
                self._quiet_s[process] = self._quiet_s.get(process, NEVER) + passed_s
        self._rows = dict(rows)

    def _is_wanted_again(self, process: Process, rows: Mapping[Process, ProcessRow]) -> bool:
        row, before = rows.get(process), self._rows.get(process)
        if row is None or row.wanted_at is None:
            return False
        return before is None or before.wanted_at != row.wanted_at

    def _tell(self, demands: Iterable[Demand], chosen: set[Process]) -> None:
        for process in sorted(chosen - self._chosen):
            log.info("models/%s is wanted; its %s starts", *process)
        for process in sorted(self._chosen - chosen):
            log.info("models/%s: its %s is idle, or in the way of another base's, and stops", *process)
        waiting = {each.process.base_id for each in demands if each.in_use and each.process not in chosen}
        for base_id in sorted(waiting - self._kept_waiting):
            log.warning(
                "models/%s has to wait: %d other bases are in memory and in use. OVERTONE_EXTRA_BASES allows more.",
                base_id,
                self._max_bases,
            )
        self._kept_waiting = waiting


def memory_of(pid: int) -> int | None:
    """Return how much memory of the machine a process occupies, or None where that cannot be told."""
    try:
        resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return resident_pages * os.sysconf("SC_PAGE_SIZE")


def _differ(noted: int | None, measured: int | None) -> bool:
    """Whether a process' memory has changed by more than an eighth, which is worth a write."""
    if noted is None or measured is None:
        return noted is not measured
    return abs(measured - noted) > noted / 8
