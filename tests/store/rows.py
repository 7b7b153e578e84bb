"""Rows to put into a store, with only what a test cares about said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from overtone.domain.tuning import Snapshot, TunedModel
from overtone.jobs.queue import new_job
from overtone.store.artifacts import Artifacts
from overtone.store.store import Store

OWNER = "owner@example.com"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def model_values(tuned_model_id: str, **values: Any) -> dict[str, Any]:
    return {
        "id": tuned_model_id,
        "display_name": "",
        "description": "",
        "base_model": "tiny",
        "base_id": "tiny",
        "base_revision": "r1",
        "source_tuned_model": None,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "reader_project_numbers": [],
        "state": "CREATING",
        "create_time": MOMENT,
        "update_time": MOMENT,
        **values,
    }


def job_values(**values: Any) -> dict[str, Any]:
    sizes: dict[str, Any] = {
        "epoch_count": 1,
        "batch_size": 1,
        "learning_rate": 0.001,
        "num_examples": 3,
        "num_tokens": 30,
        "total_steps": 3,
        "seed": 7,
        "continues": False,
        "base_id": "tiny",
    }
    sizes.update(values)
    return new_job(sizes.pop("base_id"), MOMENT, **sizes)


def add_model(store: Store, tuned_model_id: str, owner: str = OWNER, **values: Any) -> TunedModel:
    """Create a tuned model whose job waits."""
    job = {name: values.pop(name) for name in list(values) if name in ("base_id", "total_steps")}
    return store.create_tuned_model(
        model_values(tuned_model_id, **values), job_values(**job), owner, no_files
    )


def no_files(artifacts: Artifacts) -> None:
    """Write no files, not even examples."""


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, step // 3, 1 / step, MOMENT)
