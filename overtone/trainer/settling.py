"""Writes outcomes to the database, and tries again until it has them: no result is lost to a database outage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from overtone.errors import ApiError, Unavailable
from overtone.jobs.queue import Failed, JobLost, Outcome, Queue, Succeeded
from overtone.trainer.reporter import Report, Reporter

TRY_AGAIN_S = 1.0

log = logging.getLogger(__name__)


@dataclass
class Settlement:
    """An outcome to write to the database, and what may be cleared up afterwards."""

    report: Report
    outcome: Outcome
    clear_up: Callable[[], None]
    trouble: str = ""  # the last problem that was logged


class Settler:
    """Keeps outcomes until they are settled. Meanwhile their jobs keep beating, so that no other trainer takes them."""

    def __init__(self, queue: Queue, reporter: Reporter):
        self._queue, self._reporter = queue, reporter
        self._waiting: list[Settlement] = []
        self._tried_at = 0.0

    def settle(self, report: Report, outcome: Outcome, clear_up: Callable[[], None] = lambda: None) -> None:
        """Write the last steps and the outcome. If the database does not take them now, try again later."""
        log.info("%s %s", report.job.tuned_model_id, describe(outcome, report))
        self._waiting.append(Settlement(report, outcome, clear_up))
        self._try_all()

    def try_again_if_due(self) -> None:
        if self._waiting and time.monotonic() - self._tried_at >= TRY_AGAIN_S:
            self._try_all()

    def close(self) -> None:
        """Try for the last time. A job that cannot be settled stays RUNNING; the next trainer settles it."""
        self._try_all()

    def _try_all(self) -> None:
        self._tried_at = time.monotonic()
        self._waiting = [each for each in self._waiting if not self._try(each)]

    def _try(self, settlement: Settlement) -> bool:
        report = settlement.report
        self._reporter.remove(report)
        try:
            if not self._reporter.beat(report) and not report.lost:
                raise Unavailable("its last steps are not in the database yet.")
            self._queue.settle(report.job, settlement.outcome)
        except JobLost:
            log.info("%s: had been taken away", report.job.tuned_model_id)
        except ApiError as error:
            if settlement.trouble != str(error):
                log.warning("%s: not settled yet: %s", report.job.tuned_model_id, error)
            settlement.trouble = str(error)
            self._reporter.resume(report)
            return False
        settlement.clear_up()
        return True


def describe(outcome: Outcome, report: Report) -> str:
    """Return a job's outcome in words for the log: `is ready after 2 min, loss 5.2 → 0.18`."""
    if isinstance(outcome, Failed):
        return f"failed: {outcome.message}"
    if isinstance(outcome, Succeeded):
        return f"is ready after {describe_age(report.job.created_at)}{describe_losses(report)}"
    if outcome.adapter_digest:
        return f"was stopped{describe_losses(report)}; what it learned is kept"
    return "was stopped before its first step"


def describe_age(created_at: datetime) -> str:
    """Return the time since a job was created: `9 s`, `2 min`, `1.5 h`."""
    age_s = (datetime.now(UTC) - created_at).total_seconds()
    if age_s < 90:
        return f"{age_s:.0f} s"
    return f"{age_s / 60:.0f} min" if age_s < 5400 else f"{age_s / 3600:.1f} h"


def describe_losses(report: Report) -> str:
    """Return `, loss 5.2 → 0.18`: the loss of this attempt's first step and of the last one."""
    if report.first_loss is None or report.last_loss is None:
        return ""
    return f", loss {report.first_loss:.2g} → {report.last_loss:.2g}"
