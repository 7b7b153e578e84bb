"""What a client asks of a tuned model, from Google's messages into our own nouns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet

from overtone.dataset.examples import Dataset, Example
from overtone.domain.tuning import GenerationDefaults, TuningRequest, WantedHyperparameters
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.names import is_tuned_model, parse_model, parse_tuned_model
from overtone.doors.gemini.newer_fields import MULTITURN
from overtone.errors import InvalidArgument, refuse, shown
from overtone.float32 import shortest

DEFAULTS = ("temperature", "top_p", "top_k")
WRITABLE = ("display_name", "description", *DEFAULTS, "reader_project_numbers")


def read_tuning_request(request: m.CreateTunedModelRequest) -> TuningRequest:
    """Return what is to be tuned. Raises InvalidArgument for a source that is no name, and for multi-turn examples."""
    given = m.TunedModel.pb(request.tuned_model)
    source = _source_name(given)
    return TuningRequest(
        dataset=_read_dataset(given.tuning_task),
        base_model="" if not source or is_tuned_model(source) else parse_model(source),
        tuned_model=parse_tuned_model(source) if is_tuned_model(source) else "",
        id=request.tuned_model_id,
        display_name=given.display_name,
        description=given.description,
        hyperparameters=_read_hyperparameters(given.tuning_task.hyperparameters),
        defaults=GenerationDefaults(*(_read_default(name, given) for name in DEFAULTS)),
        reader_project_numbers=tuple(given.reader_project_numbers),
    )


def read_changes(request: m.UpdateTunedModelRequest) -> dict[str, Any]:
    """Return the new values of the fields that an update's mask names (AIP-134); without a mask, of those that are set.

    None stands for a generation default that is cleared. Raises InvalidArgument for a field that nobody may write and
    for one that does not exist.
    """
    given = m.TunedModel.pb(request.tuned_model)
    return {name: _new_value(name, given) for name in masked(request.update_mask.paths, request.tuned_model)}


def masked(mask_paths: Sequence[str], message: m.TunedModel) -> list[str]:
    """Return the writable fields that a mask names; without a mask, those that the message sets. Raises as above."""
    if not mask_paths:
        return [name for name in WRITABLE if name in message]
    if "*" in mask_paths:
        return list(WRITABLE)
    for path in mask_paths:
        if path not in WRITABLE:
            known = path.split(".")[0] in m.descriptor_of(m.TunedModel).fields_by_name
            problem = "cannot be changed" if known else "is not a field of a tuned model"
            raise refuse(
                "update_mask", f"names {shown(path)!r}, which {problem}; only {', '.join(WRITABLE)} can be."
            )
    return [name for name in WRITABLE if name in mask_paths]


def _source_name(given: Any) -> str:
    """Return the name of what to tune from; the message's oneof tells which field was set."""
    if given.WhichOneof("source_model") == "tuned_model_source":
        name: str = given.tuned_model_source.tuned_model
        return name
    base_model: str = given.base_model
    return base_model


def _read_dataset(task: Any) -> Dataset | None:
    if not task.HasField("training_data"):
        return None
    if len(
        UnknownFieldSet(task.training_data.examples)
    ):  # over gRPC: v1alpha's messages have multiturnExamples
        raise InvalidArgument(MULTITURN.refusal.format(), field="dataset")
    found = task.training_data.examples.examples
    return Dataset(tuple(Example.pair(item.text_input, item.output) for item in found))


def _read_hyperparameters(given: Any) -> WantedHyperparameters:
    rate = given.WhichOneof("learning_rate_option")
    return WantedHyperparameters(
        epoch_count=given.epoch_count if given.HasField("epoch_count") else None,
        batch_size=given.batch_size if given.HasField("batch_size") else None,
        learning_rate=shortest(given.learning_rate) if rate == "learning_rate" else None,
        learning_rate_multiplier=(
            shortest(given.learning_rate_multiplier) if rate == "learning_rate_multiplier" else None
        ),
    )


def _read_default(name: str, given: Any) -> Any:
    if not given.HasField(name):
        return None
    value = getattr(given, name)
    return shortest(value) if isinstance(value, float) else value


def _new_value(name: str, given: Any) -> Any:
    if name == "reader_project_numbers":
        return list(given.reader_project_numbers)
    return _read_default(name, given) if name in DEFAULTS else getattr(given, name)
