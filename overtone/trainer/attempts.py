"""Which job ended the trainer's process, told from the marks that dead processes leave.

Before it computes for a job, the trainer writes a mark among the job's artifacts; a mark that is still there
when the job is claimed again says that the process died at that very place. Only those crashes count against a
job, only as long as they happen at the same place or without a step that was kept between them, and it is given
up only when the last ones happened while no other job ran. Who merely waited is never blamed.

The count is kept in the job's row. The mark is a file: it is written before every pass, and must cost nothing.
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

    kept_step: int  # the last one that a checkpoint holds for certain
    step: int  # how many are complete
    num_taken: int  # documents of the next step's batch
    alone: bool  # no other job in this pass
    company: int  # other jobs that the trainer holds


@dataclass(frozen=True)
class CrashRecord:
    """The crashes of which a job is suspected."""

    crashes_seen: int = 0  # by the queue's count, whatever the cause
    in_a_row: int = 0
    alone_in_a_row: int = 0
    last: Mark | None = None
    alone_until: int = 0  # after this step it is past every point at which it is suspected

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> CrashRecord:
        """Return the record that `asdict` made, or a new one."""
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
    """The mark of one job: a few bytes in one write, for it must outlive a process and no machine.

    A file and no column: setting it takes 10 µs, a transaction 0.65 ms on a fast disk (2026-11-25, AMD EPYC, SQLite
    with synchronous=FULL), once for every job of every pass; and a pass must not wait for a database that is away.
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
    """Bring the job's record up to date at the beginning of an attempt, and return it. Raises JobLost.

    With the database away the crash counts in this attempt and is forgotten after it.
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
