"""Resource names as users type them: with the collection or without it."""

from __future__ import annotations


def tuned_model_name(model: str) -> str:
    """Return the resource name of a tuned model: `qa-1x` is `tunedModels/qa-1x`."""
    return model if model.startswith("tunedModels/") else f"tunedModels/{model}"


def short(name: str) -> str:
    """Return a tuned model's name without its collection."""
    return name.removeprefix("tunedModels/")
