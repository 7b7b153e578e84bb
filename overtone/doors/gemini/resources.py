"""Tuned models and cards as the messages that clients see.

What is left out is left out on purpose: training data and the learning rate multiplier never come back,
because Google's own client fails on them, and an operation holds no field that its strict reader does not
know.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from overtone.bases.registry import Card
from overtone.domain.tuning import Snapshot, TunedModel
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.names import format_model, format_operation, format_tuned_model

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


def to_tuned_model(model: TunedModel, snapshots: Sequence[Snapshot] = ()) -> m.TunedModel:
    """Return a tuned model as tunedModels.get shows it; lists leave the snapshots out."""
    message = m.TunedModel()
    bare = m.TunedModel.pb(message)  # the plain message is several times as fast to fill
    bare.name = format_tuned_model(model.id)
    bare.state = model.state
    bare.create_time.FromDatetime(model.create_time)
    bare.update_time.FromDatetime(model.update_time)
    for name in ("display_name", "description", "temperature", "top_p", "top_k"):
        value = getattr(model, name)
        if value is not None:
            setattr(bare, name, value)
    bare.reader_project_numbers.extend(model.reader_project_numbers)
    source = bare.tuned_model_source if model.source_tuned_model else bare
    source.base_model = format_model(model.base_model)
    if model.source_tuned_model:
        source.tuned_model = format_tuned_model(model.source_tuned_model)
    _fill_task(bare.tuning_task, model, snapshots)
    return message


def to_operation(model: TunedModel, snapshots: Sequence[Snapshot] = ()) -> m.Operation:
    """Return the long-running operation that makes, or made, a tuned model."""
    operation = m.Operation(name=format_operation(model.id, model.operation_id))
    operation.metadata.Pack(m.to_pb(to_metadata(model, snapshots)))
    operation.done = model.job_state in ENDED
    if model.error_code is not None:
        operation.error.code = model.error_code
        operation.error.message = model.error_message or ""
    elif operation.done:
        operation.response.Pack(m.to_pb(to_tuned_model(model, snapshots)))
    return operation


def to_metadata(model: TunedModel, snapshots: Sequence[Snapshot] = ()) -> m.CreateTunedModelMetadata:
    """Return how far a job is. A job that waits has a total and nothing else."""
    message = m.CreateTunedModelMetadata(
        tuned_model=format_tuned_model(model.id),
        total_steps=model.total_steps,
        completed_steps=model.completed_steps,
        completed_percent=100 * model.completed_steps / model.total_steps,
    )
    _add_snapshots(m.CreateTunedModelMetadata.pb(message).snapshots, snapshots)
    return message


def _fill_task(task: m.TuningTask, model: TunedModel, snapshots: Sequence[Snapshot]) -> None:
    _set_time(task, "start_time", model.started_at)
    _set_time(task, "complete_time", model.completed_at)
    task.hyperparameters.epoch_count = model.epoch_count
    task.hyperparameters.batch_size = model.batch_size
    task.hyperparameters.learning_rate = model.learning_rate
    _add_snapshots(task.snapshots, snapshots)


def _set_time(message: m.TuningTask, field: str, value: datetime | None) -> None:
    if value is not None:
        getattr(message, field).FromDatetime(value)


def _add_snapshots(field: object, snapshots: Sequence[Snapshot]) -> None:
    for snapshot in snapshots:
        message = field.add(step=snapshot.step, epoch=snapshot.epoch, mean_loss=snapshot.mean_loss)  # type: ignore[attr-defined]
        message.compute_time.FromDatetime(snapshot.computed_at)
