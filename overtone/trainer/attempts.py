"""Finds out which job crashed the trainer, from the marks that a dead process leaves.

The trainer writes a mark among the job's artifacts before it computes for that job. If the mark is still there when
the job is claimed again, the process died at that point. Only such crashes count against a job, and only while they
repeat at the same point or without any saved step between them. A job is given up only if the last crashes happened
while no other job ran. Jobs that were merely waiting are never blamed.

The count is in the job's row. The mark is a file, because it is written before every pass and must cost nothing.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from overtone.errors import ApiError
from overtone.jobs.queue import Job, Queue

MAX_CRASHES = 3
MAX_CRASHES_ALONE = 2
MARK_BYTES = 200
READING = -1  # the step of a job whose examples are being read

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mark:
    """The point that a job has reached while its trainer computes for it."""

    kept_step: int  # the last step that is certainly in a checkpoint
    step: int  # completed steps
    num_taken: int  # documents of the next step's batch that are done
    alone: bool  # whether no other job is in this pass
    company: int  # number of other jobs that the trainer holds


@dataclass(frozen=True)
class CrashRecord:
    """The crashes that a job is suspected of."""

    crashes_seen: int = 0  # by the queue's count, whatever the cause
    in_a_row: int = 0
    alone_in_a_row: int = 0
    last: Mark | None = None
    alone_until: int = 0  # after this step it is past every point at which it is suspected

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> CrashRecord:
        """Return the record that `asdict` wrote, or a new one."""
        if values is None:
            return cls()
        return cls(**{**values, "last": Mark(**values["last"]) if values["last"] else None})

    @property
    def hopeless(self) -> bool:
        return self.in_a_row >= MAX_CRASHES and self.alone_in_a_row >= MAX_CRASHES_ALONE

    @property
    def max_company(self) -> int | None:
        """How many other jobs the trainer may hold beside it; None means any number.

        From the second crash on it is half of the last number: all the jobs together may need too much memory.
        """
        return self.last.company // 2 if self.last and self.in_a_row > 1 else None

    def __str__(self) -> str:
        """Return the reason for giving up a hopeless job."""
        assert self.last is not None
        reading = self.last.step == READING
        place = (
            "while it read the examples of this job" if reading else f"near step {self.last.step} of this job"
        )
        times = {2: "two", 3: "three"}.get(self.alone_in_a_row, str(self.alone_in_a_row))
        company = "each time" if self.alone_in_a_row >= self.in_a_row else f"the last {times} times"
        return f"The trainer crashed {self.in_a_row} times {place}, {company} with no other job running."


class JobMark:
    """The mark of one job: a few bytes in one write. It must survive the process, not the machine.

    It is a file and not a column, because it is set for every job of every pass. Writing it takes 10 µs, a transaction
    0.65 ms (2026-11-25, AMD EPYC, SQLite with synchronous=FULL), and a pass cannot wait for a database.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file: int | None = None

    def set(self, mark: Mark) -> None:
        """Write the point that the job has reached. If this fails (no folder, full disk), nobody is blamed later."""
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.pwrite(self._file, json.dumps(asdict(mark)).ljust(MARK_BYTES).encode(), 0)

    def clear(self) -> None:
        """Remove the mark: nothing is being computed for the job. It can be set again."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        if self._file is not None:
            os.close(self._file)
            self._file = None


def note_attempt(job: Job, queue: Queue) -> CrashRecord:
    """Update the job's record at the start of an attempt, and return it. Raises JobLost.

    If the database is away, the crash counts in this attempt and is forgotten afterwards.
    """
    before = CrashRecord.from_json(job.crash_record)
    if job.crashes <= before.crashes_seen:
        return before
    now = _judge(before, job.crashes, _load_mark(job.artifacts.mark))
    try:
        queue.note_crashes(job, asdict(now))
    except ApiError as error:
        log.warning("%s: a crash of its trainer is not recorded: %s", job.tuned_model_id, error)
    JobMark(job.artifacts.mark).clear()
    return now


def _judge(before: CrashRecord, crashes: int, mark: Mark | None) -> CrashRecord:
    if mark is None:
        return replace(before, crashes_seen=crashes)
    again = before.last is not None and (
        (mark.step, mark.num_taken) == (before.last.step, before.last.num_taken)
        or mark.kept_step <= before.last.kept_step
    )
    in_a_row = before.in_a_row + 1 if again else 1
    alone_in_a_row = 0 if not mark.alone else before.alone_in_a_row + 1 if again else 1
    return CrashRecord(crashes, in_a_row, alone_in_a_row, mark, max(before.alone_until, mark.step + 1))


def _load_mark(path: Path) -> Mark | None:
    try:
        return Mark(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
