"""From a model's name to what answers for it: a base model's card, and a tuned model's row if it is one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from overtone.bases.registry import Card, Registry
from overtone.doors.gemini.names import (
    format_tuned_model,
    is_tuned_model,
    parse_model,
    parse_tuned_model,
    shown,
    without_prefix,
)
from overtone.doors.gemini.resources import failure_of
from overtone.errors import ApiError, FailedPrecondition, NotFound
from overtone.service.access import Access, Caller, Role
from overtone.store.store import Store
from overtone.store.tables import TunedModelRow


@dataclass(frozen=True)
class Target:
    """What a request is for. `name` is what the client said."""

    name: str
    card: Card
    row: TunedModelRow | None = None


class Targets:
    """Finds cards and tuned models by name."""

    def __init__(self, store: Store, registry: Registry, access: Access, only_base: str = ""):
        """`only_base` is the one that is served; "" when every base that has been pulled is."""
        self.store = store
        self.registry = registry
        self.access = access
        self.only_base = only_base

    def get_card(self, name: str, method: str, caller: Caller) -> Card:
        """Return the card behind `models/ID`.

        Raises NotFound, in Google's words, naming the method, and the tuned model of that id if the caller may use it.
        """
        card = self.registry.find_card(parse_model(name))
        if card is None:
            raise no_model(name, method, self._namesake(parse_model(name), caller))
        return card

    def _namesake(self, model_id: str, caller: Caller) -> str:
        row = self.store.find_tuned_model(model_id)
        if row is None or self.access.role_of(caller, row) < Role.READER:
            return ""
        return f" There is a tuned model {format_tuned_model(row.id)}."

    def card_of(self, row: TunedModelRow) -> Card:
        """Return a tuned model's card: the limits of the name it was made under, on its own base.

        An alias may point to another base by now; the adapter fits only the one it was tuned on.
        """
        named = self.registry.find_card(parse_model(row.base_model))
        if named is not None and named.base_id == row.base_id:
            return named
        base = self.registry.find_card(row.base_id)
        if base is None:
            raise FailedPrecondition(
                f"Tuned model {format_tuned_model(row.id)} needs the base model models/{row.base_id}, "
                f"which is not on this machine. Fetch it with: overtone models pull {row.base_id}"
            )
        return replace(named or base, base_id=row.base_id, context_length=base.context_length)

    def get_target(self, name: str, method: str, caller: Caller) -> Target:
        """Return what a name stands for, after the check that the caller may use it and that it is ready."""
        name = without_prefix(name)
        if not is_tuned_model(name):
            return Target(name, self.get_card(name, method, caller))
        row = self.store.get_tuned_model(parse_tuned_model(name))
        self.access.require(caller, Role.READER, row)
        if row.state != "ACTIVE":
            raise _not_ready(row)
        return Target(name, self.card_of(row), row)

    def require_served(self, card: Card, name: str) -> None:
        """Raise FailedPrecondition, saying how to serve it, when this service does not serve a card's base."""
        if self.only_base and card.base_id != self.only_base:
            raise FailedPrecondition(
                f"No engine serves the base model models/{card.base_id} of {shown(name)}; this service serves only "
                f"models/{self.only_base}, because OVERTONE_EXTRA_BASES is 0."
            )
        if not self.registry.has_base(card.base_id):
            raise FailedPrecondition(
                f"The base model models/{card.base_id} of {shown(name)} is not on this machine. "
                f"Fetch it with: overtone models pull {card.base_id}"
            )


def no_model(name: str, method: str, hint: str = "") -> NotFound:
    """Return Google's answer for a base model that is unknown or cannot do this."""
    return NotFound(
        f"{shown(name)} is not found for API version v1beta, or is not supported for {method}. "
        f"Call ListModels to see the list of available models and their supported methods.{hint}"
    )


def _not_ready(row: TunedModelRow) -> ApiError:
    name = format_tuned_model(row.id)
    if row.state == "FAILED":
        return FailedPrecondition(f"Tuned model {name} cannot be used: {failure_of(row)}.")
    progress = f"{row.completed_steps} of {row.total_steps} steps are done"
    waiting = "it waits for its turn" if row.job_state == "QUEUED" and not row.completed_steps else progress
    return FailedPrecondition(
        f"Tuned model {name} is still being tuned: {waiting}. Try again when it is ACTIVE."
    )
