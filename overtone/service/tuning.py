"""Tuned models from creation to deletion, and the jobs that make them: find, may you, change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from overtone.bases.example_tokens import count_example_tokens
from overtone.bases.registry import Card
from overtone.dataset.checks import check_texts, check_tokens
from overtone.dataset.examples import Dataset
from overtone.dataset.stored import save_examples
from overtone.domain.sharing import Caller, Question, Role
from overtone.domain.tuning import GenerationDefaults, Snapshot, TunedModel, TuningRequest
from overtone.errors import FailedPrecondition, NotFound, Ref, base_model, refuse, tuned_model
from overtone.jobs import queue
from overtone.jobs.queue import Queue
from overtone.service import rules
from overtone.service.access import Access
from overtone.service.models import Models
from overtone.service.paging import DEFAULT_PAGE_SIZE, Page, PageRequest, read_page
from overtone.store.artifacts import Artifacts
from overtone.store.store import Store

DEFAULTS = ("temperature", "top_p", "top_k")


class NotTunable(NotFound):
    """The base model answers, but cannot be tuned."""

    def __init__(self, base_id: str):
        super().__init__("The base model {model} cannot be tuned.", model=base_model(base_id))


@dataclass(frozen=True)
class Source:
    """What a new model is tuned from: a base model, or another tuned model with its adapter."""

    card: Card
    base_model: str  # the id that was asked for
    tuned_model: TunedModel | None = None

    @property
    def ref(self) -> Ref:
        return base_model(self.base_model) if self.tuned_model is None else tuned_model(self.tuned_model.id)


class TunedModels:
    """The verbs over tuned models and their jobs."""

    def __init__(self, store: Store, queue: Queue, models: Models, access: Access):
        self._store = store
        self._queue = queue
        self._models = models
        self._access = access

    def get(self, tuned_model_id: str, caller: Caller, role: Role = Role.READER) -> TunedModel:
        """Return a tuned model on which the caller has the role. Raises NotFound, PermissionDenied."""
        model = self._store.get_tuned_model(tuned_model_id)
        self._access.require(caller, role, model)
        return model

    def get_by_operation(
        self, tuned_model_id: str, operation_id: str, caller: Caller, role: Role = Role.READER
    ) -> TunedModel:
        """Return the tuned model that a job makes. Raises NotFound, PermissionDenied."""
        model = self._store.find_tuned_model(tuned_model_id)
        if model is None or model.operation_id != operation_id:
            ref = Ref("operation", (tuned_model_id, operation_id))
            raise NotFound("Operation {operation} does not exist.", operation=ref)
        self._access.require(caller, role, model)
        return model

    def list(
        self, question: Question, asked: PageRequest, default: int = DEFAULT_PAGE_SIZE
    ) -> Page[TunedModel]:
        """Return the tuned models that a question asks for by pages, oldest first."""
        pager = self._store.pager("tuned models", repr(question))

        def find(after: int, limit: int) -> Sequence[TunedModel]:
            return self._store.list_tuned_models(question, after, limit)

        return read_page(pager, asked, find, lambda model: model.uid, default)

    def list_snapshots(self, model: TunedModel) -> Sequence[Snapshot]:
        """Return the finished steps of the job that makes, or made, a tuned model."""
        return self._store.list_snapshots(model.operation_id)

    def create(self, request: TuningRequest, caller: Caller) -> TunedModel:
        """Check everything, then create a tuned model in state CREATING and the job that will tune it."""
        if request.id:
            rules.check_tuned_model_id(request.id)
        rules.check_display_name(request.display_name)
        rules.check_generation_defaults(request.defaults)
        source = self._source(request, caller)
        self._models.require_served(source.card, source.ref)
        model, job, dataset = self._plan(request, source)

        def fill(artifacts: Artifacts) -> None:
            save_examples(artifacts.examples, dataset)
            if source.tuned_model is not None:
                _link_source(artifacts, self._store.artifacts_of(source.tuned_model))

        return self._store.create_tuned_model(model, job, caller.email, fill)

    def update(self, model: TunedModel, changes: Mapping[str, Any]) -> TunedModel:
        """Change fields of a tuned model that `get` returned for a writer.

        None clears a generation default: the model gets its base's again.
        """
        rules.check_display_name(changes.get("display_name", ""))
        given = {name: changes[name] for name in DEFAULTS if name in changes}
        rules.check_generation_defaults(GenerationDefaults(**given))
        cleared = [name for name in given if given[name] is None]
        card = self._models.card_of(model) if cleared else None
        values = {**changes, **{name: getattr(card, name) for name in cleared}}
        return self._store.update_tuned_model(model.uid, values)

    def delete(self, tuned_model_id: str, caller: Caller) -> None:
        """Delete a tuned model with all that belongs to it; a job that still tunes it is stopped."""
        self._store.delete_tuned_model(self.get(tuned_model_id, caller, Role.OWNER))

    def cancel(self, model: TunedModel) -> None:
        """Stop the job of a tuned model that `get` returned for a writer. Twice is as good as once."""
        self._queue.cancel(model.operation_id)

    def _source(self, request: TuningRequest, caller: Caller) -> Source:
        if request.tuned_model:
            return self._tuned_source(request.tuned_model, caller)
        if not request.base_model:
            raise refuse(
                "base_model",
                "is missing; say what to tune: {base} or {tuned}.",
                base=Ref("field", ("base_model",)),
                tuned=Ref("field", ("tuned_model",)),
            )
        card = self._models.get_card(request.base_model, caller)
        if not card.is_tunable:
            raise NotTunable(request.base_model)
        return Source(card, request.base_model)

    def _tuned_source(self, tuned_model_id: str, caller: Caller) -> Source:
        model = self.get(tuned_model_id, caller)
        if model.state != "ACTIVE":
            raise FailedPrecondition(
                f"Tuned model {{model}} is {model.state}; only an ACTIVE one can be tuned on.",
                model=tuned_model(model.id),
            )
        return Source(self._models.card_of(model), model.base_model, model)

    def _plan(self, request: TuningRequest, source: Source) -> tuple[dict[str, Any], dict[str, Any], Dataset]:
        """Return the rows to insert, the tuned model's and its job's, and the examples to save."""
        card = source.card
        dataset = request.dataset
        if dataset is None:
            raise rules.NoExamples
        limits = rules.limits_of(card)
        rules.require_sound(check_texts(dataset, limits), card)
        num_examples = len(dataset)
        chosen = rules.resolve_hyperparameters(request.hyperparameters, card, num_examples)
        total_steps = rules.count_steps(num_examples, chosen)
        count_tokens = count_example_tokens(self._models.chat_of(card), card.context_length)
        rules.require_sound(check_tokens(dataset, limits, count_tokens), card)
        now = datetime.now(UTC)
        job = queue.new_job(
            card.base_id,
            now,
            epoch_count=chosen.epoch_count,
            batch_size=chosen.batch_size,
            learning_rate=chosen.learning_rate,
            num_examples=num_examples,
            total_steps=total_steps,
            num_tokens=sum(map(count_tokens, dataset.examples)),
            seed=rules.derive_seed(dataset, chosen),
            continues=source.tuned_model is not None,
        )
        return _new_model(request, source, now), job, dataset


def _new_model(request: TuningRequest, source: Source, now: datetime) -> dict[str, Any]:
    """Return the row of a new tuned model. What is not given is taken over from the source at once."""
    parent = source.tuned_model
    inherited = GenerationDefaults(*(getattr(parent or source.card, name) for name in DEFAULTS))
    given = {name: value for name in DEFAULTS if (value := getattr(request.defaults, name)) is not None}
    defaults = replace(inherited, **given)
    return {
        "id": request.id or rules.generate_tuned_model_id(request.display_name),
        "display_name": request.display_name,
        "description": request.description,
        "base_model": source.base_model,
        "base_id": source.card.base_id,
        "base_revision": source.card.revision,
        "source_tuned_model": parent and parent.id,
        "reader_project_numbers": list(request.reader_project_numbers),
        "state": "CREATING",
        "create_time": now,
        "update_time": now,
        "temperature": defaults.temperature,
        "top_p": defaults.top_p,
        "top_k": defaults.top_k,
    }


def _link_source(artifacts: Artifacts, parent: Artifacts) -> None:
    try:
        artifacts.link_source(parent)
    except FileNotFoundError:
        raise FailedPrecondition("The tuned model to tune on was deleted in the meantime.") from None
