"""One claimed job while it runs: its tuning, its folder, its checkpoints and its outcome.

The trainer may be killed at any moment. It leaves an intact checkpoint and a row that says RUNNING. The next
trainer resumes from there and arrives at the same weights.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from overtone.bases.chat import Chat
from overtone.dataset.stored import load_examples
from overtone.domain.tuning import Snapshot
from overtone.errors import InvalidArgument, OvertoneError
from overtone.jobs.queue import Job
from overtone.model.adapter import Adapter, load_adapter, save_adapter
from overtone.model.decoder import Decoder
from overtone.train.checkpoint import BackgroundSaver, load_newest, save_checkpoint
from overtone.train.data import BatchOrder, Document, encode_examples
from overtone.train.evaluate import largest_key_or_value, mean_loss
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Recipe, Step, Tuning
from overtone.trainer.attempts import JobMark, Mark
from overtone.trainer.fairness import JobAccount
from overtone.trainer.reporter import Report
from overtone.trainer.stopwatch import Stopwatch

CHECKPOINT_EVERY_S = 5.0
MOST_COMPARED = 64  # at most this many examples of a batch are compared with their loss before the first step
MOST_ASKED = 1  # a finished tuning is tried on this many of its own examples: 0.1 s on the default base
SMALL_WEIGHT = 1.0  # far above the weights of sound rates, far below overflow: smaller weights need no trial
MAX_CACHED = (
    65504 / 2
)  # the engine keeps keys and values in float16; the margin is for texts that were not tried
CALMER = 0.5  # the learning rate is multiplied by this after the loss ran away

log = logging.getLogger(__name__)


class TuningFailed(Exception):
    """The job cannot succeed. Its owner reads the message."""


@dataclass
class RunningJob:
    """A job, its tuning and its progress.

    If the database cannot be reached, the snapshots that it lacks are saved beside the checkpoint. Their steps are
    not run again, so without this the list of snapshots would have a gap.
    """

    job: Job
    tuning: Tuning
    report: Report
    hand_in: Callable[[], bool]  # writes the finished steps to the database
    account: JobAccount
    saver: BackgroundSaver
    mark: JobMark
    kept_step: int  # the last step that is certainly in a checkpoint; background ones may contain more
    stopwatch: Stopwatch
    alone_until: int = 0  # it runs alone before this step, because it may have crashed a pass or a process
    cancelled: bool = False  # its owner cancelled it; what it learned is saved
    save_at: float = 0.0  # when to try again to save the result, after a full disk
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def alone(self) -> bool:
        return self.tuning.step < self.alone_until

    @property
    def is_suspect(self) -> bool:
        """Whether it must first run alone to show that it does not crash the process."""
        return self.alone and not self.is_over

    @property
    def is_over(self) -> bool:
        """Whether only the result is left to save."""
        return self.tuning.done or self.cancelled

    def set_mark(self, alone: bool, company: int) -> None:
        """Mark the job's folder: the trainer now computes for it, at this point."""
        tuning = self.tuning
        self.mark.set(Mark(self.kept_step, tuning.step, tuning.num_taken, alone, company))

    def loss_at_beginning(self, model: TrainingBase, step: Step) -> float:
        """Return the loss that a step's examples had before the first step, from a sample if they are many."""
        order = self.tuning.order
        numbers = {order.example_at(place) for place in order.places(step.number - 1)[:MOST_COMPARED]}
        documents = [self.tuning.documents[number] for number in sorted(numbers)]
        return mean_loss(model, self.tuning.beginning(), documents)

    def report_step(self, step: Step) -> None:
        """Give a finished step to the reporter."""
        self.report.add_step(Snapshot(step.number, step.epoch, step.mean_loss, step.computed_at))

    def checkpoint_if_due(self) -> None:
        """Save every few seconds, in the background. If the disk is full, the job goes on without a checkpoint."""
        if time.monotonic() - self.saved_at < CHECKPOINT_EVERY_S or self.saver.busy or self.tuning.done:
            return
        try:
            self.saver.save(self.tuning.save(), first=self._secure_snapshots)
        except OSError as error:
            log.warning("%s: no checkpoint: %s", self.job.tuned_model_id, error)
        self.saved_at = time.monotonic()

    def checkpoint_now(self) -> None:
        """Save and wait for the disk. If the disk is full, the job goes on without a checkpoint."""
        try:
            self.saver.wait()
            if self._secure_snapshots():
                save_checkpoint(self.job.artifacts.checkpoints, self.tuning.save())
                self.kept_step = self.tuning.step
        except OSError as error:
            log.warning("%s: no checkpoint: %s", self.job.tuned_model_id, error)
        self.saved_at = time.monotonic()

    def _secure_snapshots(self) -> bool:
        """Write the finished steps to the database, else to the disk; False for a lost job. Raises OSError."""
        if not self.hand_in() and not self.report.lost:
            _save_unreported(self.job, list(self.report.finished))
        return not self.report.lost

    def go_back(self, step: Step) -> None:
        """Return to the last checkpoint with half the rate, once. Raises TuningFailed the second time."""
        if self.tuning.rate_factor < 1.0:
            raise TuningFailed(self._why_hopeless(step))
        with suppress(OSError):  # the checkpoint may have found no room
            self.saver.wait()
        progress = load_newest(self.job.artifacts.checkpoints, self.tuning.lora.flat.numel())
        if progress is None:
            self.tuning.reset()
        else:
            self.tuning.restore(progress)
        self.tuning.rate_factor *= CALMER
        self.checkpoint_now()

    def _why_hopeless(self, step: Step) -> str:
        """Return the cause. If the first step's loss is not finite, it is the starting weights, not the rate."""
        if step.number > 1:
            return (
                f"The loss ran away at step {step.number}, even with half the learning rate of "
                f"{self.job.learning_rate:g}. Try a smaller learning_rate."
            )
        if self.job.continues:
            return "The tuned model to continue from computes numbers that are not finite."
        return (
            f"The base model models/{self.job.base_id} computes numbers that are not finite, before anything was "
            f"learned: its files may be damaged. Pull it again: overtone models pull {self.job.base_id}"
        )

    def clear_up(self) -> None:
        """Remove the checkpoints of a settled job: they are large and no longer needed."""
        shutil.rmtree(self.job.artifacts.checkpoints, ignore_errors=True)

    def require_answers(self, decoder: Decoder) -> None:
        """Raise TuningFailed if the tuned model cannot answer its own examples because its numbers are too large."""
        if float(self.tuning.lora.flat.detach().abs().max()) <= SMALL_WEIGHT:
            return
        documents = self.tuning.documents[:MOST_ASKED]
        largest = largest_key_or_value(decoder, self.tuning.lora, documents)
        if not largest <= MAX_CACHED:
            raise TuningFailed(
                f"With the learning rate of {self.job.learning_rate:g} the weights grew so large that the tuned "
                f"model cannot answer: a key or value of {largest:.3g} does not fit into float16. "
                "Try a smaller learning_rate."
            )

    def save_result(self, base_revision: str) -> str:
        """Write the adapter and return its digest. Raises OSError."""
        with suppress(OSError):  # the checkpoint may have found no room
            self.saver.wait()
        adapter = self.tuning.lora.to_adapter()
        return save_adapter(self.job.artifacts.adapter, adapter, self.job.base_id, base_revision)


def begin(
    job: Job, report: Report, hand_in: Callable[[], bool], model: TrainingBase, chat: Chat
) -> RunningJob:
    """Read a job's examples and resume from its newest checkpoint, if there is one.

    Raises TuningFailed if its files are damaged.
    """
    documents = load_documents(job, chat)
    source = _load_source(job)
    recipe = Recipe(job.learning_rate, source.rank, source.alpha) if source else Recipe(job.learning_rate)
    order = BatchOrder(len(documents), job.epoch_count, job.batch_size, job.seed)
    decoder = model.decoder
    tuning = Tuning(decoder.config, documents, order, recipe, source, decoder.device)
    progress = load_newest(job.artifacts.checkpoints, tuning.lora.flat.numel())
    if progress is not None:
        tuning.restore(progress)
    report.finished.extend(_load_unreported(job, tuning.step))
    account = JobAccount(job.epoch_count * sum(len(document.ids) for document in documents))
    saver = BackgroundSaver(job.artifacts.checkpoints)
    mark = JobMark(job.artifacts.mark)
    return RunningJob(job, tuning, report, hand_in, account, saver, mark, tuning.step, Stopwatch(tuning.step))


def load_documents(job: Job, chat: Chat) -> list[Document]:
    """Read a job's examples as token ids. Raises TuningFailed that names the damaged line."""
    try:
        dataset = load_examples(job.artifacts.examples)
        documents = encode_examples(chat, dataset.examples)
    except (OvertoneError, InvalidArgument) as error:
        raise TuningFailed(str(error)) from error
    if len(documents) != job.num_examples:
        raise TuningFailed(f"{len(documents)} training examples are stored; there were {job.num_examples}.")
    return documents


def _save_unreported(job: Job, finished: Sequence[Snapshot]) -> None:
    rows = [(each.step, each.epoch, each.mean_loss, each.computed_at.isoformat()) for each in finished]
    path = job.artifacts.unreported
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rows))
    partial.replace(path)


def _load_unreported(job: Job, num_steps: int) -> list[Snapshot]:
    """Return the snapshots saved beside a checkpoint, up to its step. Some may be in the database by now."""
    try:
        rows = json.loads(job.artifacts.unreported.read_text())
        kept = [Snapshot(step, epoch, loss, datetime.fromisoformat(at)) for step, epoch, loss, at in rows]
    except (OSError, ValueError, TypeError):
        return []
    return [snapshot for snapshot in kept if snapshot.step <= num_steps]


def _load_source(job: Job) -> Adapter | None:
    if not job.continues:
        return None
    try:
        return load_adapter(job.artifacts.source, base_id=job.base_id)
    except OvertoneError as error:
        raise TuningFailed(f"The tuned model to continue from cannot be read: {error}") from error
