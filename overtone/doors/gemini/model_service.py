"""google.ai.generativelanguage.v1beta.ModelService:

base models, and tuned models from creation to deletion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from overtone.bases.registry import Card
from overtone.doors.gemini import messages as m
from overtone.doors.gemini import resources
from overtone.doors.gemini.names import (
    format_tuned_model,
    is_tuned_model,
    parse_tuned_model,
    shown,
    without_prefix,
)
from overtone.errors import FailedPrecondition
from overtone.jobs import queue
from overtone.service import filters, rules
from overtone.service.access import Caller, Role
from overtone.service.chats import Chats
from overtone.service.examples_file import save_examples
from overtone.service.targets import Targets, no_model
from overtone.store.artifacts import Artifacts
from overtone.store.tables import TunedModelRow

MODELS_PAGE_SIZE = 50
SEAM_TOKENS = 16  # by which texts counted alone may differ from texts within the template


@dataclass(frozen=True)
class Source:
    """What a new model is tuned from: a base model, or another tuned model with its adapter."""

    card: Card
    base_model: str  # as the client named it
    tuned_model: TunedModelRow | None = None

    @property
    def name(self) -> str:
        return self.base_model if self.tuned_model is None else format_tuned_model(self.tuned_model.id)


class ModelService:
    """Find, may you, change, answer."""

    def __init__(self, targets: Targets, chats: Chats):
        self.targets = targets
        self.store = targets.store
        self.access = targets.access
        self.chats = chats

    def get_model(self, request: m.GetModelRequest, caller: Caller) -> m.Model:
        """Return a base model or an alias of one."""
        return resources.to_model(self.targets.get_card(request.name, "getModel", caller))

    def list_models(self, request: m.ListModelsRequest, caller: Caller) -> m.ListModelsResponse:
        """Return the base models by pages: aliases first, then the open models."""
        cards = self.targets.registry.list_cards()
        size = rules.page_size(request.page_size, MODELS_PAGE_SIZE)
        pager = self.store.pager("models")
        start = pager.position(request.page_token)
        token = pager.token(start + size) if start + size < len(cards) else ""
        page = [resources.to_model(card) for card in cards[start : start + size]]
        return m.ListModelsResponse(models=page, next_page_token=token)

    def get_tuned_model(self, request: m.GetTunedModelRequest, caller: Caller) -> m.TunedModel:
        """Return a tuned model with the losses of its tuning so far."""
        row = self.store.get_tuned_model(parse_tuned_model(without_prefix(request.name)))
        self.access.require(caller, Role.READER, row)
        return resources.to_tuned_model(row, self.store.list_snapshots(row.operation_id))

    def list_tuned_models(
        self, request: m.ListTunedModelsRequest, caller: Caller
    ) -> m.ListTunedModelsResponse:
        """Return the caller's tuned models by pages, oldest first; `filters` says which."""
        size = rules.page_size(request.page_size)
        pager = self.store.pager("tunedModels", request.filter, caller.email)
        question = filters.parse(request.filter, caller.grantee)
        found = self.store.list_tuned_models(question, pager.position(request.page_token), size + 1)
        token = pager.token(found[size - 1].uid) if len(found) > size else ""
        page = [resources.to_tuned_model(row) for row in found[:size]]
        return m.ListTunedModelsResponse(tuned_models=page, next_page_token=token)

    def create_tuned_model(self, request: m.CreateTunedModelRequest, caller: Caller) -> m.Operation:
        """Check everything, then create a tuned model in state CREATING and the job that will tune it."""
        given = request.tuned_model
        if request.tuned_model_id:
            rules.check_tuned_model_id(request.tuned_model_id)
        rules.check_display_name(given.display_name)
        rules.check_generation_defaults(given)
        source = self._source(m.TunedModel.pb(given), caller)
        self.targets.require_served(source.card, source.name)
        model, job, examples = self._plan(given, source, caller.client)
        model["id"] = request.tuned_model_id or rules.generate_tuned_model_id(given.display_name)

        def fill(artifacts: Artifacts) -> None:
            save_examples(artifacts.examples, examples)
            if source.tuned_model is not None:
                _link_source(artifacts, self.store.artifacts_of(source.tuned_model))

        row = self.store.create_tuned_model(model, job, caller.email, fill)
        return resources.to_operation(row)

    def update_tuned_model(self, request: m.UpdateTunedModelRequest, caller: Caller) -> m.TunedModel:
        """Change the writable fields that the mask names (AIP-134); without a mask, those that are set."""
        given = request.tuned_model
        row = self.store.get_tuned_model(parse_tuned_model(given.name))
        self.access.require(caller, Role.WRITER, row)
        chosen = rules.masked(request.update_mask.paths, given)
        rules.check_display_name(given.display_name if "display_name" in chosen else "")
        rules.check_generation_defaults(given, chosen)
        changes = {name: self._new_value(name, given, row) for name in chosen}
        row = self.store.update_tuned_model(row.uid, changes)
        return resources.to_tuned_model(row, self.store.list_snapshots(row.operation_id))

    def delete_tuned_model(self, request: m.DeleteTunedModelRequest, caller: Caller) -> m.Empty:
        """Delete a tuned model with all that belongs to it; a job that still tunes it is stopped."""
        row = self.store.get_tuned_model(parse_tuned_model(request.name))
        self.access.require(caller, Role.OWNER, row)
        self.store.delete_tuned_model(row)
        return m.Empty()

    def _source(self, given: Any, caller: Caller) -> Source:
        """Return what to tune from.

        `given` is the plain protobuf message, whose oneof tells which was set.
        """
        chosen = given.WhichOneof("source_model")
        name = given.tuned_model_source.tuned_model if chosen == "tuned_model_source" else given.base_model
        if not name:
            raise rules.refuse(
                "tuned_model.base_model",
                "is missing; say what to tune: base_model or tuned_model_source.tuned_model.",
            )
        if is_tuned_model(name):
            return self._tuned_source(name, caller)
        card = self.targets.get_card(name, "createTunedModel", caller)
        if "createTunedModel" not in card.supported_generation_methods:
            raise no_model(name, "createTunedModel")
        return Source(card, name)

    def _tuned_source(self, name: str, caller: Caller) -> Source:
        row = self.store.get_tuned_model(parse_tuned_model(name))
        self.access.require(caller, Role.READER, row)
        if row.state != "ACTIVE":
            raise FailedPrecondition(
                f"Tuned model {shown(name)} is {row.state}; only an ACTIVE one can be tuned on."
            )
        return Source(self.targets.card_of(row), row.base_model, row)

    def _plan(
        self, given: m.TunedModel, source: Source, client: str
    ) -> tuple[dict[str, Any], dict[str, Any], Sequence[rules.Example]]:
        """Return the rows to insert and the examples to save; the model's id is still to be chosen."""
        task = m.TunedModel.pb(given).tuning_task
        card = source.card
        examples = rules.read_examples(task, card, client)
        chosen = rules.resolve_hyperparameters(task.hyperparameters, card, len(examples))
        total_steps = rules.count_steps(len(examples), chosen)
        now = datetime.now(UTC)
        job = queue.new_job(
            card.base_id,
            now,
            epoch_count=chosen.epoch_count,
            batch_size=chosen.batch_size,
            learning_rate=chosen.learning_rate,
            num_examples=len(examples),
            num_tokens=self._count_tokens(examples, card),
            total_steps=total_steps,
            seed=rules.derive_seed(examples, chosen),
            continues=source.tuned_model is not None,
        )
        return _new_model(given, source, now), job, examples

    def _count_tokens(self, examples: Sequence[rules.Example], card: Card) -> int:
        chat = self.chats.of(card)
        template_tokens = len(chat.example_ids("", "")[0])

        def length(example: rules.Example) -> int:
            """Count the texts alone, five times as fast, and the whole only where the two might differ."""
            estimate = template_tokens + chat.count(example.text_input) + chat.count(example.output)
            if estimate < card.context_length - SEAM_TOKENS:
                return estimate
            return len(chat.example_ids(example.text_input, example.output)[0])

        return rules.check_example_tokens(map(length, examples), card)

    def _new_value(self, name: str, given: m.TunedModel, row: TunedModelRow) -> Any:
        """Return a field's new value; one that is cleared gets the base model's again."""
        if name == "reader_project_numbers":
            return list(given.reader_project_numbers)
        if name in given or name in ("display_name", "description"):
            return getattr(given, name)
        return getattr(self.targets.card_of(row), name)


def _new_model(given: m.TunedModel, source: Source, now: datetime) -> dict[str, Any]:
    """Return the row of a new tuned model. What is not given is taken over from the source at once."""
    parent: Any = source.tuned_model or source.card
    defaults = {
        name: getattr(given if name in given else parent, name) for name in ("temperature", "top_p", "top_k")
    }
    return {
        "display_name": given.display_name,
        "description": given.description,
        "base_model": source.base_model,
        "base_id": source.card.base_id,
        "base_revision": source.card.revision,
        "source_tuned_model": source.tuned_model and format_tuned_model(source.tuned_model.id),
        "reader_project_numbers": list(given.reader_project_numbers),
        "state": "CREATING",
        "create_time": now,
        "update_time": now,
        **defaults,
    }


def _link_source(artifacts: Artifacts, parent: Artifacts) -> None:
    try:
        artifacts.link_source(parent)
    except FileNotFoundError:
        raise FailedPrecondition("The tuned model to tune on was deleted in the meantime.") from None
