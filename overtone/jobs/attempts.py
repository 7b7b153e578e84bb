"""What a job's folder remembers of processes that died while they ran it.

The queue counts every rescue. Here we tell a job that ends its process again and again from one that was
merely running when somebody pulled the plug: only crashes without progress between them count.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from overtone.jobs.queue import Job

MAX_CRASHES = 3
PROGRESS_STEPS = 5  # fewer new steps than this are no progress: reports lag a little behind the steps


@dataclass(frozen=True)
class Attempts:
    """Crashes counted so far, and where the job stood at the last one."""

    crashes_seen: int = 0
    step: int = 0
    without_progress: int = 0

    @property
    def hopeless(self) -> bool:
        return self.without_progress >= MAX_CRASHES


def note_attempt(job: Job) -> Attempts:
    """Update the record at the beginning of an attempt, and return it."""
    path = job.folder / "attempts.json"
    before = _load(path)
    if job.crashes <= before.crashes_seen:
        return before
    stuck = before.crashes_seen > 0 and job.completed_steps < before.step + PROGRESS_STEPS
    without_progress = before.without_progress + 1 if stuck else 1
    now = Attempts(job.crashes, job.completed_steps, without_progress)
    path.write_text(json.dumps(asdict(now)))
    return now


def _load(path: Path) -> Attempts:
    try:
        return Attempts(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Attempts()
