"""A tuned model, what is asked for when one is made, and the steps of its job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from overtone.dataset.examples import Dataset


@dataclass(frozen=True)
class Hyperparameters:
    """How a model is tuned."""

    epoch_count: int
    batch_size: int
    learning_rate: float


@dataclass(frozen=True)
class WantedHyperparameters:
    """Those that a request gives. None: the base model's default; at most one of the two last is given."""

    epoch_count: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    learning_rate_multiplier: float | None = None  # of the default learning rate


@dataclass(frozen=True)
class GenerationDefaults:
    """How a tuned model answers where a request does not say. None: as its base model does."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


@dataclass(frozen=True)
class TuningRequest:
    """What is to be tuned: a base model or, if that is given, a tuned model, on examples."""

    dataset: Dataset | None  # None: none was given
    base_model: str = ""  # the id of a card
    tuned_model: str = ""  # the id of the tuned model to go on from
    id: str = ""  # "": one is made from the display name
    display_name: str = ""
    description: str = ""
    hyperparameters: WantedHyperparameters = WantedHyperparameters()
    defaults: GenerationDefaults = GenerationDefaults()
    reader_project_numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class TunedModel:
    """A tuned model with what its job knows about it."""

    uid: int  # grows with creation, and outlives the id
    id: str
    display_name: str
    description: str
    base_model: str  # the id of the card that was asked for: an alias or the open model's own
    base_id: str  # what runs
    base_revision: str
    source_tuned_model: str | None  # the id of the tuned model it was tuned from; that may be gone
    temperature: float | None
    top_p: float | None
    top_k: int | None
    reader_project_numbers: list[int]
    state: str  # CREATING, ACTIVE, FAILED
    create_time: datetime
    update_time: datetime
    adapter_digest: str | None
    operation_id: str
    epoch_count: int
    batch_size: int
    learning_rate: float
    num_examples: int
    total_steps: int
    completed_steps: int
    job_state: str
    started_at: datetime | None
    completed_at: datetime | None
    error_code: int | None
    error_message: str | None
    owner_email: str | None


@dataclass(frozen=True)
class Snapshot:
    """One finished optimiser step."""

    step: int
    epoch: int
    mean_loss: float
    computed_at: datetime
