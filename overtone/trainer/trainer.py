"""The trainer: claims every waiting job of its base and tunes them together, pass by pass.

One pass carries documents of as many jobs as fit. Each job keeps its own data, rank, learning rate, schedule and
length, and has the losses that it would have alone. A new job joins at the next pass, a finished one leaves. An
error in one job fails that job, with a message for its owner, and no other job.

The base is loaded for the first job, stays for the next ones, and is unloaded after some minutes without jobs.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import log as ln
from pathlib import Path

import torch

from overtone import processor
from overtone.bases.chat import Chat
from overtone.bases.example_tokens import count_template_tokens
from overtone.bases.registry import Card
from overtone.config import Settings
from overtone.errors import ApiError, Code, OvertoneError
from overtone.jobs.queue import Cancelled, Failed, Job, JobLost, Outcome, Queue, Succeeded
from overtone.model.device import NoSuchDevice, choose_device
from overtone.store.database_errors import is_disk_full
from overtone.train.loop import max_tokens, run_pass
from overtone.train.precision import choose as choose_precision
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Step
from overtone.trainer import stopwatch
from overtone.trainer.attempts import READING, JobMark, Mark, note_attempt
from overtone.trainer.fairness import choose, join
from overtone.trainer.liveness import Liveness
from overtone.trainer.reporter import Reporter
from overtone.trainer.running_job import RunningJob, TuningFailed, begin
from overtone.trainer.settling import Settler

IDLE_S = 0.1  # pause between two looks for work
RESCUE_EVERY_S = 5.0
TRY_AGAIN_S = 1.0  # after the database or the disk refused a result
BASE_AGAIN_S = 10.0  # after the base could not be loaded; it may have been repaired
GIVE_BACK_AFTER_S = 300.0  # the base is unloaded after this long without a job; a small one reloads in 0.5 s
MAX_JOBS = 64  # jobs held at once; the rest wait in the queue
RUNAWAY = 3.0  # a loss above this multiple of ln(vocabulary), the loss of a uniform guess, may have run away
WORSE = 2.0  # and if it is above this multiple of the same examples' loss before the first step, it has
PATIENCE = 4.0  # wait this many times as long as the database took to refuse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Base:
    """The base model in memory. Jobs end on the revision they began with, even if its files are replaced."""

    model: TrainingBase
    chat: Chat
    revision: str
    precision: str  # as the log says it
    template_tokens: int  # of every example


def run(settings: Settings, queue: Queue, base_folder: Path, stop: threading.Event) -> None:
    """Work until told to stop; then save checkpoints and return the running jobs to the queue."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    trainer = Trainer(settings, queue, base_folder)
    try:
        trainer.tell_how_it_computes()
        while not stop.is_set():
            if not trainer.work():
                stop.wait(IDLE_S)
    finally:
        trainer.close()


class Trainer:
    """The jobs of one process on one resident base."""

    def __init__(self, settings: Settings, queue: Queue, base_folder: Path):
        self._settings, self._queue, self._base_folder = settings, queue, base_folder
        self._worker_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._base: Base | None = None
        self._base_again_at = 0.0
        self._trouble = ""  # the last problem with the base that was logged
        self._jobs: list[RunningJob] = []
        self._marked: list[RunningJob] = []
        self._max_jobs = MAX_JOBS
        self._has_reclaimed = False
        self._database_trouble = ""  # the last problem with the database that was logged
        self._database_again_at = 0.0
        self._reporter = Reporter(queue)
        self._settler = Settler(queue, self._reporter)
        self._liveness = Liveness()
        self._rescued_at = 0.0
        self._worked_at = 0.0

    def tell_how_it_computes(self) -> None:
        """Log how the base is trained and on which processor, because speed depends on both."""
        try:
            device = torch.device(choose_device(self._settings.device))
            precision = choose_precision(self._base_folder, device, self._settings.precision)
        except (OvertoneError, OSError, ValueError) as error:
            log.warning("%s cannot be trained: %s", self._settings.base, error)
            return
        where = processor.describe(torch.get_num_threads()) if device.type == "cpu" else str(device)
        log.info("%s is trained with %s on %s", self._settings.base, precision, where)

    def work(self) -> bool:
        """Claim waiting jobs and run one pass. Returns False if there was nothing to do."""
        self._settler.try_again_if_due()
        self._look_for_work()
        self._drop_unwanted()
        self._save_what_is_over()
        if all(running.is_over for running in self._jobs):
            self._mark([])
            self._give_back_if_idle()
            return False
        self._worked_at = time.monotonic()
        chosen = self._choose()
        self._mark(chosen)
        for running in chosen:
            running.stopwatch.note_company(len(self._jobs))
        try:
            steps = run_pass(
                self._load_base().model, [running.tuning for running in chosen], self._pass_tokens()
            )
        except Exception as error:
            self._isolate(chosen, error)
            return True
        for running, step in zip(chosen, steps, strict=True):
            running.account.serve(running.tuning.tokens_taken)
            if step is not None:
                self._after_step(running, step)
        return True

    def close(self) -> None:
        """Save a checkpoint of every job and release it."""
        self._mark([])
        released = [running.job for running in self._jobs]
        for running in list(self._jobs):
            self._forget(running)
            running.checkpoint_now()
        self._release(released)
        self._settler.close()
        self._reporter.close()

    # Claiming

    def _look_for_work(self) -> None:
        """Rescue and claim jobs. While the database is away, busy or full, the running jobs continue without it."""
        began = time.monotonic()
        if began < self._database_again_at:
            return
        try:
            self._reclaim_our_own()
            self._rescue_if_due()
            self._claim_waiting()
            self._database_trouble = ""
        except ApiError as error:
            if self._database_trouble != str(error):
                log.warning("No jobs can be claimed for the moment: %s", error)
            self._database_trouble = str(error)
            now = time.monotonic()
            self._database_again_at = now + max(TRY_AGAIN_S, PATIENCE * (now - began))

    def _reclaim_our_own(self) -> None:
        """At the first look, return the jobs of an earlier trainer to the queue at once.

        An SQLite database belongs to one service with one trainer per base, so the previous holder of its jobs is dead.
        """
        if not self._has_reclaimed and self._settings.database_url.startswith("sqlite"):
            for running in self._queue.list_running(self._settings.base):
                self._queue.rescue(running)
        self._has_reclaimed = True

    def _rescue_if_due(self) -> None:
        if time.monotonic() - self._rescued_at < RESCUE_EVERY_S:
            return
        self._rescued_at = time.monotonic()
        others = [each for each in self._queue.list_running() if each.worker_id != self._worker_id]
        for silent in self._liveness.find_silent(others, self._settings.rescue_after_s):
            if self._queue.rescue(silent):
                log.warning("%s: its worker fell silent; the job is back in the queue", silent.operation_id)

    def _claim_waiting(self) -> None:
        """Claim waiting jobs, if there is room, the base is loaded, and no held job is suspected of a crash."""
        while len(self._jobs) < self._max_jobs and not any(running.is_suspect for running in self._jobs):
            if not self._queue.has_waiting(self._settings.base) or not self._has_base():
                return
            job = self._queue.claim(self._worker_id, self._settings.base)
            if job is None:
                return
            self._begin(job)

    def _has_base(self) -> bool:
        """Load the base before its first job is claimed. Jobs wait while the base cannot be loaded."""
        if self._base is None and time.monotonic() >= self._base_again_at:
            try:
                self._load_base()
            except NoSuchDevice:
                return True  # a wrong setting, which waiting does not repair: the job reports it
            except Exception as error:
                self._base_again_at = time.monotonic() + BASE_AGAIN_S
                self._tell_trouble(str(error))
        return self._base is not None

    def _tell_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            base = self._settings.base
            log.error(
                "The base model %s cannot be loaded, and its jobs wait: %s Repair it with: overtone models pull %s",
                base, trouble, base,
            )  # fmt: skip
        self._trouble = trouble

    def _begin(self, job: Job) -> None:
        try:
            tried = note_attempt(job, self._queue)
        except JobLost as error:
            log.info("%s", error)
            return
        if tried.max_company is not None and len(self._jobs) > tried.max_company:
            self._max_jobs = len(self._jobs)  # this many fit together; one more did not
            self._release([job])
            return
        report = self._reporter.add(job)
        mark = JobMark(job.artifacts.mark)
        try:
            if tried.hopeless:
                raise TuningFailed(str(tried))
            base = self._load_base()
            mark.set(Mark(READING, READING, 0, alone=True, company=len(self._jobs)))
            running = begin(job, report, lambda: self._reporter.beat(report), base.model, base.chat)
        except Exception as error:
            self._settler.settle(report, _failure(error))
            return
        finally:
            mark.clear()
        running.alone_until = tried.alone_until
        join(running.account, [other.account for other in self._jobs])
        self._jobs.append(running)
        if running.tuning.step:
            log.info(
                "%s goes on at step %d of %d", job.tuned_model_id, running.tuning.step + 1, job.total_steps
            )
        else:
            log.info(
                "%s started: %d examples, %d steps", job.tuned_model_id, job.num_examples, job.total_steps
            )

    def _load_base(self) -> Base:
        if self._base is None:
            revision = Card.load(self._base_folder).revision
            device = torch.device(choose_device(self._settings.device))
            model = TrainingBase.load(self._base_folder, device, self._settings.precision)
            precision = str(choose_precision(self._base_folder, device, self._settings.precision))
            chat = Chat(self._base_folder)
            self._base = Base(model, chat, revision, precision, count_template_tokens(chat))
            self._trouble = ""
        return self._base

    def _give_back_if_idle(self) -> None:
        if self._base is not None and time.monotonic() - self._worked_at > GIVE_BACK_AFTER_S:
            log.debug("no job for %g s; the base is unloaded", GIVE_BACK_AFTER_S)
            self._base = None

    # Running

    def _choose(self) -> list[RunningJob]:
        """Return the jobs of the next pass. A job that must run alone gets a pass of its own."""
        able = [running for running in self._jobs if not running.is_over]
        accounts = [running.account for running in able]
        next_tokens = [running.tuning.next_tokens() for running in able]
        chosen = [able[i] for i in choose(accounts, next_tokens, self._pass_tokens())]
        if chosen[0].alone:
            return chosen[:1]
        return [running for running in chosen if not running.alone]

    def _mark(self, chosen: Sequence[RunningJob]) -> None:
        """Mark the folders of the jobs of this pass, and clear the marks of the others."""
        for running in self._marked:
            if running not in chosen:
                running.mark.clear()
        self._marked = list(chosen)
        for running in chosen:
            running.set_mark(alone=len(chosen) == 1, company=len(self._jobs) - 1)

    def _pass_tokens(self) -> int:
        return max_tokens(self._load_base().model.decoder)

    def _after_step(self, running: RunningJob, step: Step) -> None:
        if self._ran_away(running, step):
            self._go_back(running, step)
            return
        running.report_step(step)
        self._note_speed(running)
        if step.number <= running.alone_until and not running.tuning.done:
            running.checkpoint_now()  # a step that caused no crash need not run again
        running.checkpoint_if_due()

    def _note_speed(self, running: RunningJob) -> None:
        """Keep what a finished job took, for the next one's estimate; one that began anew says nothing."""
        tuning = running.tuning
        if not tuning.done or tuning.rate_factor < 1.0:
            return
        base = self._load_base()
        device = base.model.decoder.device
        record = running.stopwatch.read(
            running.job.base_id, base.precision, device, tuning, base.template_tokens
        )
        if record is not None:
            stopwatch.keep(self._settings.data, record)

    def _ran_away(self, running: RunningJob, step: Step) -> bool:
        """Tell whether the loss ran away: not finite, or far above both a uniform guess and its initial value.

        The loss of the first step is accepted, however high: the job began with it (a label to correct, a rare letter).
        """
        model = self._load_base().model
        if not step.is_finite:
            return True
        if step.number == 1 or step.mean_loss <= RUNAWAY * ln(model.decoder.config.vocab_size):
            return False
        return step.mean_loss > WORSE * running.loss_at_beginning(model, step)

    def _go_back(self, running: RunningJob, step: Step) -> None:
        log.warning("%s: loss %g at step %d", running.job.tuned_model_id, step.mean_loss, step.number)
        try:
            running.go_back(step)
        except TuningFailed as error:
            self._end(running, _failure(error))
            return
        at = running.tuning.step + 1
        log.warning("%s goes on at step %d with half the learning rate", running.job.tuned_model_id, at)

    def _isolate(self, chosen: Sequence[RunningJob], error: Exception) -> None:
        """After an error in a pass, repeat it for each job alone, and fail those that fail alone."""
        log.error("A pass of %d jobs failed", len(chosen), exc_info=error)
        if len(chosen) == 1:
            self._end(chosen[0], _failure(error))
        for running in chosen:
            running.tuning.drop_batch()
            running.alone_until = max(running.alone_until, running.tuning.step + 1)

    # Ending

    def _drop_unwanted(self) -> None:
        """Drop the jobs that were taken away, and stop those that were cancelled."""
        for running in list(self._jobs):
            if running.report.lost:
                self._forget(running)
            elif running.report.cancelled:
                running.cancelled = True

    def _save_what_is_over(self) -> None:
        """Save and settle the jobs that are done or cancelled. If the disk is full, wait: no result is thrown away."""
        for running in list(self._jobs):
            if running.is_over and time.monotonic() >= running.save_at:
                try:
                    self._end(running, self._save(running))
                except OSError as error:
                    running.mark.clear()
                    if not is_disk_full(error):
                        self._end(running, _failure(error))
                    running.save_at = time.monotonic() + TRY_AGAIN_S
                    log.warning("%s: its result waits for room on the disk", running.job.tuned_model_id)
                except Exception as error:
                    self._end(running, _failure(error))

    def _save(self, running: RunningJob) -> Outcome:
        """Write the adapter, if there was a step, and return the outcome. Raises OSError and TuningFailed."""
        running.set_mark(alone=True, company=len(self._jobs) - 1)
        if not running.tuning.step:
            return Cancelled(None)
        base = self._load_base()
        running.require_answers(base.model.decoder)
        digest = running.save_result(base.revision)
        return Succeeded(digest) if running.tuning.done else Cancelled(digest)

    def _release(self, released: Sequence[Job]) -> None:
        """Return jobs to the queue. If the database is away, they are rescued later."""
        for job in released:
            try:
                self._queue.release(job)
            except JobLost as error:
                log.info("%s", error)
            except ApiError as error:
                log.warning("Jobs are not released: %s", error)
                return

    def _end(self, running: RunningJob, outcome: Outcome) -> None:
        self._jobs.remove(running)
        running.mark.clear()
        self._settler.settle(running.report, outcome, running.clear_up)

    def _forget(self, running: RunningJob) -> None:
        self._jobs.remove(running)
        running.mark.clear()
        self._reporter.remove(running.report)


def _failure(error: Exception) -> Failed:
    """Return in one sentence why a job failed."""
    if isinstance(error, TuningFailed | OvertoneError):
        return Failed(Code.FAILED_PRECONDITION, str(error))
    if isinstance(error, OSError):
        return Failed(Code.RESOURCE_EXHAUSTED, f"The tuned weights could not be written: {error.strerror}.")
    log.error("A job failed", exc_info=error)
    return Failed(Code.INTERNAL, f"Tuning failed: {error}")
