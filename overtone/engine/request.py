"""A request to an engine, ready to be computed: token ids, complete options and the adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from overtone.domain.generation import GenerationOptions


@dataclass(frozen=True)
class AdapterRef:
    """An adapter on the disk. Its digest identifies its weights."""

    folder: Path
    digest: str


@dataclass(frozen=True)
class EngineRequest:
    """One prompt. `tuned_model` is the key for fairness and metrics; "" is the base."""

    request_id: str
    prompt_ids: list[int]
    options: GenerationOptions
    tuned_model: str = ""
    adapter: AdapterRef | None = None
