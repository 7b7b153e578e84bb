"""From a model's name, as clients write it, to what it stands for; who is not found hears Google's words."""

from __future__ import annotations

from overtone.bases.registry import Card
from overtone.domain.sharing import Caller
from overtone.doors.gemini.names import (
    format_ref,
    is_tuned_model,
    parse_model,
    parse_tuned_model,
    without_prefix,
)
from overtone.errors import NotFound, shown
from overtone.service.models import Models, Target, UnknownBase


def get_card(models: Models, name: str, method: str, caller: Caller) -> Card:
    """Return the card behind `models/ID`. Raises NotFound, naming the method."""
    try:
        return models.get_card(parse_model(name), caller)
    except UnknownBase as error:
        raise no_model(name, method, error) from None


def get_target(models: Models, name: str, method: str, caller: Caller) -> Target:
    """Return what a name stands for, after the check that the caller may use it and that it is ready."""
    name = without_prefix(name)
    if is_tuned_model(name):
        return models.get_tuned(parse_tuned_model(name), caller)
    return Target(get_card(models, name, method, caller))


def no_model(name: str, method: str, error: UnknownBase | None = None) -> NotFound:
    """Return Google's answer for a base model that is unknown or cannot do this."""
    namesake = error.namesake if error else None
    hint = f" There is a tuned model {format_ref(namesake)}." if namesake else ""
    return NotFound(
        f"{shown(name)} is not found for API version v1beta, or is not supported for {method}. "
        f"Call ListModels to see the list of available models and their supported methods.{hint}"
    )
