"""Rows and cards as the messages that clients see.

What is left out is left out on purpose: training data and the learning rate multiplier never come back,
because Google's own client fails on them, and an operation holds no field that its strict reader does not
know.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from overtone.bases.registry import Card
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.names import format_model, format_operation, format_tuned_model
from overtone.errors import Code
from overtone.store.tables import Snapshot, TunedModelRow

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


def to_model(card: Card) -> m.Model:
    """Return a base model as models.get shows it."""
    return m.Model(
        name=format_model(card.id),
        version=card.version,
        display_name=card.display_name,
        description=card.description,
        input_token_limit=card.input_token_limit,
        output_token_limit=card.output_token_limit,
        supported_generation_methods=card.supported_generation_methods,
        temperature=card.temperature,
        max_temperature=card.max_temperature,
        top_p=card.top_p,
        top_k=card.top_k,
    )


def to_tuned_model(row: TunedModelRow, snapshots: Sequence[Snapshot] = ()) -> m.TunedModel:
    """Return a tuned model as tunedModels.get shows it; lists leave the snapshots out."""
    message = m.TunedModel()
    bare = m.TunedModel.pb(message)  # the plain message is several times as fast to fill
    bare.name = format_tuned_model(row.id)
    bare.state = row.state
    bare.create_time.FromDatetime(row.create_time)
    bare.update_time.FromDatetime(row.update_time)
    for name in ("display_name", "description", "temperature", "top_p", "top_k"):
        value = getattr(row, name)
        if value is not None:
            setattr(bare, name, value)
    bare.reader_project_numbers.extend(row.reader_project_numbers)
    source = bare.tuned_model_source if row.source_tuned_model else bare
    source.base_model = row.base_model
    if row.source_tuned_model:
        source.tuned_model = row.source_tuned_model
    _fill_task(bare.tuning_task, row, snapshots)
    return message


def to_operation(row: TunedModelRow, snapshots: Sequence[Snapshot] = ()) -> m.Operation:
    """Return the long-running operation that makes, or made, a tuned model."""
    operation = m.Operation(name=format_operation(row.id, row.operation_id))
    operation.metadata.Pack(m.to_pb(to_metadata(row, snapshots)))
    operation.done = row.job_state in ENDED
    if row.error_code is not None:
        operation.error.code = row.error_code
        operation.error.message = row.error_message or ""
    elif operation.done:
        operation.response.Pack(m.to_pb(to_tuned_model(row, snapshots)))
    return operation


def to_metadata(row: TunedModelRow, snapshots: Sequence[Snapshot] = ()) -> m.CreateTunedModelMetadata:
    """Return how far a job is. A job that waits has a total and nothing else."""
    message = m.CreateTunedModelMetadata(
        tuned_model=format_tuned_model(row.id),
        total_steps=row.total_steps,
        completed_steps=row.completed_steps,
        completed_percent=100 * row.completed_steps / row.total_steps,
    )
    _add_snapshots(m.CreateTunedModelMetadata.pb(message).snapshots, snapshots)
    return message


def failure_of(row: TunedModelRow) -> str:
    """Return, as the end of a sentence, why a tuned model failed."""
    if row.error_code == Code.CANCELLED.number:
        return "its tuning was cancelled before the first step was finished"
    reason = (row.error_message or "").removeprefix("Tuning failed: ").rstrip(".")
    return f"its tuning failed: {reason}"


def _fill_task(task: m.TuningTask, row: TunedModelRow, snapshots: Sequence[Snapshot]) -> None:
    _set_time(task, "start_time", row.started_at)
    _set_time(task, "complete_time", row.completed_at)
    task.hyperparameters.epoch_count = row.epoch_count
    task.hyperparameters.batch_size = row.batch_size
    task.hyperparameters.learning_rate = row.learning_rate
    _add_snapshots(task.snapshots, snapshots)


def _set_time(message: m.TuningTask, field: str, value: datetime | None) -> None:
    if value is not None:
        getattr(message, field).FromDatetime(value)


def _add_snapshots(field: object, snapshots: Sequence[Snapshot]) -> None:
    for snapshot in snapshots:
        message = field.add(step=snapshot.step, epoch=snapshot.epoch, mean_loss=snapshot.mean_loss)  # type: ignore[attr-defined]
        message.compute_time.FromDatetime(snapshot.computed_at)
