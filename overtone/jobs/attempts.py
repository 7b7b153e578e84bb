"""What a job's folder remembers of processes that died while they computed a pass of it.

Before a pass its jobs are marked, each in its own folder; a mark that a new trainer finds was left by one that died.
Who waited has no mark and is not blamed. A marked job is a suspect: it runs without company until it has passed the
place, so one that ends its process again and again is found out, and its companions of the first time are cleared.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

MAX_CRASHES = 3
MAX_CRASHES_ALONE = (
    2  # of these: only then is it the job, and not its company or somebody who pulled the plug
)
PROGRESS_STEPS = 5  # fewer new steps than this are no progress: reports lag a little behind the steps
RECORD, MARK = "attempts.json", "in-pass.json"


@dataclass(frozen=True)
class Attempts:
    """Crashes near one place, how many of them without company, and where the job stood."""

    step: int = 0  # as reported
    checkpoint: int = 0  # the step of the newest
    crashes: int = 0
    alone: int = 0

    @property
    def hopeless(self) -> bool:
        return self.crashes >= MAX_CRASHES and self.alone >= MAX_CRASHES_ALONE

    @property
    def clear_from(self) -> int:
        """The step from which the job may have company again; 0 without a crash."""
        return self.step + PROGRESS_STEPS if self.crashes else 0

    def __str__(self) -> str:
        """Return why a hopeless job is given up."""
        times = {2: "two", 3: "three"}.get(self.alone, str(self.alone))
        company = "each time" if self.alone == self.crashes else f"the last {times} times"
        return (
            f"The trainer crashed {self.crashes} times near step {self.step} of this job, {company} with no other "
            "job running."
        )


def mark(folder: Path, num_jobs: int) -> None:
    """Note that a job is in the pass that begins now, with so many jobs in all. Raises OSError."""
    (folder / MARK).write_text(json.dumps({"num_jobs": num_jobs}))


def unmark(folder: Path) -> None:
    """Note that the job is in no pass."""
    (folder / MARK).unlink(missing_ok=True)


def note_attempt(folder: Path, step: int, checkpoint: int) -> Attempts:
    """Update the record at the beginning of an attempt, and return it.

    `step` is what was reported, `checkpoint` where the attempt goes on from: if either has moved since the last
    crash, that one was no sign of trouble here.
    """
    before, num_jobs = _load(folder), _read_mark(folder)
    if num_jobs is None:
        return before
    moved = step >= before.step + PROGRESS_STEPS or checkpoint > before.checkpoint
    earlier = Attempts() if moved else before
    now = Attempts(step, checkpoint, earlier.crashes + 1, earlier.alone + (num_jobs == 1))
    (folder / RECORD).write_text(json.dumps(asdict(now)))
    unmark(folder)
    return now


def _load(folder: Path) -> Attempts:
    try:
        return Attempts(**json.loads((folder / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return Attempts()


def _read_mark(folder: Path) -> int | None:
    """Return how many jobs were in the pass that did not end, or None without a mark."""
    try:
        return int(json.loads((folder / MARK).read_text())["num_jobs"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        return 2  # a mark that was cut short: the process died in company, for all we know
