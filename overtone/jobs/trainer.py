"""The trainer: claims every waiting job of its base and tunes them together, pass by pass.

One pass carries documents of as many jobs as fit; each job keeps its own data, rank, rate, schedule and
length, and has the losses it would have had alone. A new job joins at the next pass, a finished one leaves.
What goes wrong with one job ends that job, in words its owner can read, and no other.

The base is loaded when a job comes, stays for the next ones, and is given back after minutes without any.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from math import log as ln
from pathlib import Path

import torch

from overtone import processor
from overtone.config import Settings
from overtone.errors import ApiError, Code, OvertoneError
from overtone.jobs.attempts import note_attempt
from overtone.jobs.queue import Cancelled, Failed, Job, JobLost, Outcome, Queue, Succeeded
from overtone.jobs.reporter import Report, Reporter
from overtone.jobs.running_job import RunningJob, TuningFailed, begin
from overtone.jobs.turns import choose, join
from overtone.model.chat import Chat
from overtone.model.decoder import Decoder
from overtone.model.device import choose_device
from overtone.train.loop import max_tokens, run_pass
from overtone.train.precision import choose as choose_precision
from overtone.train.precision import load_decoder
from overtone.train.tuning import Step

IDLE_S = 0.1  # between two looks for work
RESCUE_EVERY_S = 5.0
SETTLE_TRIES = 60  # a second apart; then the row stays RUNNING, and is resumed and settled later
GIVE_BACK_AFTER_S = 300.0  # without a job; loading the base again takes half a second for a small one
MAX_JOBS = 64  # held at once; the rest wait in the queue
RUNAWAY = 2.0  # times ln(vocabulary), the loss of who knows nothing

log = logging.getLogger(__name__)


def run(settings: Settings, queue: Queue, base_folder: Path, stop: threading.Event) -> None:
    """Work until told to stop; then checkpoint the running jobs and put them back into the queue."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    trainer = Trainer(settings, queue, base_folder)
    try:
        trainer.tell_how_it_computes()
        trainer.reclaim_our_own()
        while not stop.is_set():
            if not _work_if_possible(trainer):
                stop.wait(IDLE_S)
    finally:
        trainer.close()


def _work_if_possible(trainer: Trainer) -> bool:
    """Work, unless the database is busy or its disk full: that passes."""
    try:
        return trainer.work()
    except ApiError as error:
        log.warning("The database does not answer: %s", error)
        return False


class Trainer:
    """The jobs of one process on one resident base."""

    def __init__(self, settings: Settings, queue: Queue, base_folder: Path):
        self._settings, self._queue, self._base_folder = settings, queue, base_folder
        self._worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._base: tuple[Decoder, Chat] | None = None
        self._jobs: list[RunningJob] = []
        self._reporter = Reporter(queue)
        self._rescued_at = 0.0
        self._worked_at = 0.0

    def reclaim_our_own(self) -> None:
        """Rescue at once what an earlier self left behind.

        A database in a file belongs to one service with one trainer, so whoever held these jobs is dead.
        """
        if self._settings.database_url.startswith("sqlite"):
            self._queue.rescue(0.0)

    def tell_how_it_computes(self) -> None:
        """Log which way the base is trained, and on which processor: figures are worth nothing without."""
        try:
            device = choose_device(self._settings.device)
            precision = choose_precision(self._base_folder, device, self._settings.precision)
        except (OvertoneError, OSError, ValueError) as error:
            log.warning("%s cannot be trained: %s", self._settings.base, error)
            return
        where = processor.describe(torch.get_num_threads()) if device.type == "cpu" else str(device)
        log.info("%s is trained with %s on %s", self._settings.base, precision, where)

    def work(self) -> bool:
        """Claim what waits and run one pass. Returns False when there was nothing to do."""
        self._rescue_if_due()
        self._claim_waiting()
        self._drop_unwanted()
        if not self._jobs:
            self._give_back_if_idle()
            return False
        self._worked_at = time.monotonic()
        chosen = self._choose()
        try:
            steps = run_pass(
                self._load_base()[0], [running.tuning for running in chosen], self._pass_tokens()
            )
        except Exception as error:
            self._isolate(chosen, error)
            return True
        for running, step in zip(chosen, steps, strict=True):
            running.turn.serve(running.tuning.tokens_taken)
            if step is not None:
                self._after_step(running, step)
        return True

    def close(self) -> None:
        """Checkpoint and release every job."""
        for running in list(self._jobs):
            self._release(running)
        self._reporter.close()

    # Claiming

    def _rescue_if_due(self) -> None:
        if time.monotonic() - self._rescued_at < RESCUE_EVERY_S:
            return
        self._rescued_at = time.monotonic()
        for operation_id in self._queue.rescue(self._settings.rescue_after_s):
            log.warning("%s: its worker fell silent; the job is back in the queue", operation_id)

    def _claim_waiting(self) -> None:
        while len(self._jobs) < MAX_JOBS:
            job = self._queue.claim(self._worker_id, self._settings.base)
            if job is None:
                return
            self._begin(job)

    def _begin(self, job: Job) -> None:
        report = self._reporter.add(job)
        try:
            attempts = note_attempt(job)
            if attempts.hopeless:
                raise TuningFailed(
                    f"Tuning ended its process {attempts.without_progress} times near step {attempts.step}, "
                    "the last times without other jobs beside it."
                )
            decoder, chat = self._load_base()
            running = begin(job, report, lambda: self._reporter.beat(report), decoder, chat)
        except Exception as error:
            self._settle(report, _failure(error))
            return
        running.alone = job.crashes > 0
        join(running.turn, [other.turn for other in self._jobs])
        self._jobs.append(running)
        if running.tuning.done:
            self._succeed(running)

    def _load_base(self) -> tuple[Decoder, Chat]:
        if self._base is None:
            device = choose_device(self._settings.device)
            decoder = load_decoder(self._base_folder, device, self._settings.precision)
            self._base = decoder, Chat(self._base_folder)
        return self._base

    def _give_back_if_idle(self) -> None:
        if self._base is not None and time.monotonic() - self._worked_at > GIVE_BACK_AFTER_S:
            log.debug("no job for %g s; the base's memory is given back", GIVE_BACK_AFTER_S)
            self._base = None

    # Running

    def _choose(self) -> list[RunningJob]:
        """Return the jobs of the next pass; one that must be alone goes alone, before the others."""
        for running in self._jobs:
            if running.alone:
                return [running]
        turns = [running.turn for running in self._jobs]
        next_tokens = [running.tuning.next_tokens() for running in self._jobs]
        return [self._jobs[i] for i in choose(turns, next_tokens, self._pass_tokens())]

    def _pass_tokens(self) -> int:
        return max_tokens(self._load_base()[0])

    def _after_step(self, running: RunningJob, step: Step) -> None:
        if not step.is_finite or step.mean_loss > RUNAWAY * ln(self._load_base()[0].config.vocab_size):
            self._go_back(running, step)
            return
        running.report_step(step)
        running.checkpoint_if_due()
        if running.tuning.done:
            self._succeed(running)

    def _go_back(self, running: RunningJob, step: Step) -> None:
        log.warning("%s: loss %g at step %d", running.job.tuned_model_id, step.mean_loss, step.number)
        try:
            running.go_back(step.number)
        except (TuningFailed, OSError) as error:
            self._end(running, _failure(error))

    def _isolate(self, chosen: Sequence[RunningJob], error: Exception) -> None:
        """After an error in a pass: repeat it for each job alone, and fail the one that failed alone."""
        log.error("A pass of %d jobs failed", len(chosen), exc_info=error)
        if len(chosen) == 1:
            self._end(chosen[0], _failure(error))
        for running in chosen:
            running.tuning.drop_batch()
            running.alone = True

    # Ending

    def _drop_unwanted(self) -> None:
        """Let go of the jobs that were taken away, and end those whose owner wants no more."""
        for running in list(self._jobs):
            if running.report.lost:
                self._forget(running)
            elif running.report.cancelled:
                self._cancel(running)

    def _succeed(self, running: RunningJob) -> None:
        try:
            digest = running.save_result(self._base_folder)
        except Exception as error:
            self._end(running, _failure(error))
        else:
            self._end(running, Succeeded(digest))

    def _cancel(self, running: RunningJob) -> None:
        """Keep what was learned, if anything was."""
        try:
            digest = running.save_result(self._base_folder) if running.tuning.step else None
        except Exception as error:
            self._end(running, _failure(error))
        else:
            self._end(running, Cancelled(digest))

    def _release(self, running: RunningJob) -> None:
        self._forget(running)
        try:
            running.checkpoint_now()
        except OSError as error:
            log.warning("%s: no checkpoint: %s", running.job.tuned_model_id, error)
        try:
            self._queue.release(running.job)
        except (JobLost, ApiError) as error:
            log.warning("%s: not released: %s", running.job.tuned_model_id, error)

    def _end(self, running: RunningJob, outcome: Outcome) -> None:
        self._jobs.remove(running)
        self._settle(running.report, outcome)
        running.clear_up()

    def _forget(self, running: RunningJob) -> None:
        self._jobs.remove(running)
        self._reporter.remove(running.report)

    def _settle(self, report: Report, outcome: Outcome) -> None:
        """Hand in the last steps, then the outcome; keep trying while the database is away."""
        self._reporter.remove(report)
        self._reporter.beat(report)
        log.info("%s: %s", report.job.tuned_model_id, outcome)
        for _ in range(SETTLE_TRIES):
            try:
                self._queue.settle(report.job, outcome)
                return
            except JobLost:
                log.info("%s: had been taken away", report.job.tuned_model_id)
                return
            except ApiError as error:
                log.warning("%s: not settled yet: %s", report.job.tuned_model_id, error)
                time.sleep(1.0)


def _failure(error: Exception) -> Failed:
    """Say in one sentence why a job failed."""
    if isinstance(error, TuningFailed | OvertoneError):
        return Failed(Code.FAILED_PRECONDITION, str(error))
    if isinstance(error, OSError):
        return Failed(Code.RESOURCE_EXHAUSTED, f"The tuned weights could not be written: {error.strerror}.")
    log.error("A job failed", exc_info=error)
    return Failed(Code.INTERNAL, f"Tuning failed: {error}")
