"""Finds out which job crashed the trainer, from the marks that a dead process leaves in the jobs' folders.

The trainer marks a job's folder before it computes for that job. If the mark is still there when the job is
claimed again, the process died at that point. Only such crashes count against a job, and only while they repeat
at the same point or without any saved step between them. A job is given up only if the last crashes happened
while no other job ran. Jobs that were merely waiting are never blamed.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from overtone.jobs.queue import Job

MAX_CRASHES = 3
MAX_CRASHES_ALONE = 2
MARK_FILE = "in_pass"
RECORD_FILE = "attempts.json"
MARK_BYTES = 200
READING = -1  # the step of a job whose examples are being read


@dataclass(frozen=True)
class Mark:
    """The point that a job has reached while its trainer computes for it."""

    first_step: int  # the step at which this attempt began
    step: int  # completed steps
    num_taken: int  # documents of the next step's batch that are done
    alone: bool  # whether no other job is in this pass
    company: int  # number of other jobs that the trainer holds


@dataclass(frozen=True)
class Attempts:
    """The crashes that a job is suspected of."""

    crashes_seen: int = 0  # by the queue's count, whatever the cause
    in_a_row: int = 0
    alone_in_a_row: int = 0
    last: Mark | None = None
    alone_until: int = 0  # after this step it is past every point at which it is suspected

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
    """The mark in one job's folder: a few bytes in one write. It must survive the process, not the machine."""

    def __init__(self, folder: Path):
        self._path = folder / MARK_FILE
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


def note_attempt(job: Job) -> Attempts:
    """Update the record at the start of an attempt, and return it."""
    before = _load_record(job.folder)
    if job.crashes <= before.crashes_seen:
        return before
    now = _judge(before, job.crashes, _load_mark(job.folder))
    with suppress(OSError):  # on a full disk this crash is not counted
        (job.folder / RECORD_FILE).write_text(json.dumps(asdict(now)))
    JobMark(job.folder).clear()
    return now


def _judge(before: Attempts, crashes: int, mark: Mark | None) -> Attempts:
    if mark is None:
        return replace(before, crashes_seen=crashes)
    again = before.last is not None and (
        (mark.step, mark.num_taken) == (before.last.step, before.last.num_taken)
        or mark.first_step <= before.last.first_step
    )
    in_a_row = before.in_a_row + 1 if again else 1
    alone_in_a_row = 0 if not mark.alone else before.alone_in_a_row + 1 if again else 1
    return Attempts(crashes, in_a_row, alone_in_a_row, mark, max(before.alone_until, mark.step + 1))


def _load_mark(folder: Path) -> Mark | None:
    try:
        return Mark(**json.loads((folder / MARK_FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _load_record(folder: Path) -> Attempts:
    try:
        values = json.loads((folder / RECORD_FILE).read_text())
        return Attempts(**{**values, "last": Mark(**values["last"]) if values["last"] else None})
    except (OSError, ValueError, TypeError, KeyError):
        return Attempts()
