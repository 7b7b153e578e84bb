"""Sends the running jobs' heartbeats from a thread of its own, so progress and cancellation do not wait for a step.

A few writes a second report the steps that finished since the last one. They also prove that the worker lives, so
a long step is not taken for a dead worker. A database that is busy or full for a while only delays the reports.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from overtone.domain.tuning import Snapshot
from overtone.errors import ApiError
from overtone.jobs.queue import Job, JobLost, Queue, Verdict

INTERVAL_S = 0.4
PATIENCE = 4.0  # wait this many times as long as the database took to refuse

log = logging.getLogger(__name__)


@dataclass
class Report:
    """What is to be reported about a job, and the answers so far."""

    job: Job
    finished: list[Snapshot] = field(default_factory=list)
    first_loss: float | None = None  # of this attempt
    last_loss: float | None = None
    cancelled: bool = False
    lost: bool = False
    trouble: str = ""  # the last problem that was logged
    beating: threading.Lock = field(
        default_factory=threading.Lock
    )  # one beat at a time: snapshots keep their order

    def add_step(self, snapshot: Snapshot) -> None:
        """Record a finished step. The next beat reports it."""
        self.finished.append(snapshot)
        self.last_loss = snapshot.mean_loss
        if self.first_loss is None:
            self.first_loss = snapshot.mean_loss


class Reporter:
    """Beats for every job from `add` to `remove`."""

    def __init__(self, queue: Queue):
        self._queue = queue
        self._reports: dict[str, Report] = {}
        self._again_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._thread.start()

    def add(self, job: Job) -> Report:
        report = self._reports[job.operation_id] = Report(job)
        return report

    def resume(self, report: Report) -> None:
        """Beat again for a job that was removed."""
        self._reports[report.job.operation_id] = report

    def remove(self, report: Report) -> None:
        """Stop beating for this job. Waits for a beat under way, so that none follows the settling."""
        self._reports.pop(report.job.operation_id, None)
        with report.beating:
            pass

    def beat(self, report: Report) -> bool:
        """Report the steps that finished since the last beat. Sets `cancelled` and `lost`.

        Returns False if the job is lost, or if the database does not answer; a later beat tries again.
        """
        if time.monotonic() < self._again_at:
            return False
        began = time.monotonic()
        with report.beating:
            finished = list(report.finished)
            try:
                report.cancelled |= self._queue.beat(report.job, finished) is Verdict.CANCEL
                del report.finished[: len(finished)]
                report.trouble = ""
                return True
            except JobLost:
                report.lost = True
            except ApiError as error:
                self._again_at = time.monotonic() + PATIENCE * (time.monotonic() - began)
                if report.trouble != str(error):
                    log.warning("%s: progress will be reported later: %s", report.job.tuned_model_id, error)
                report.trouble = str(error)
            return False

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            for report in list(self._reports.values()):
                if not report.lost and self._reports.get(report.job.operation_id) is report:
                    self._beat_safely(report)

    def _beat_safely(self, report: Report) -> None:
        try:
            self.beat(report)
        except Exception:
            log.exception("%s: a beat failed", report.job.tuned_model_id)
