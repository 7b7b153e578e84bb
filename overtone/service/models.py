"""From a model's id to what answers for it: a base model's card and chat format, and a tuned model if it is one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock

from overtone.bases.chat import Chat
from overtone.bases.registry import Card, Registry
from overtone.config import Settings
from overtone.domain.sharing import Caller, Role
from overtone.domain.tuning import TunedModel
from overtone.errors import ApiError, Code, FailedPrecondition, NotFound, Ref, base_model, tuned_model
from overtone.service.access import Access
from overtone.service.paging import Page, PageRequest, read_page
from overtone.store.store import Store

CARDS_PAGE_SIZE = 50


class UnknownBase(NotFound):
    """No card has this id. `namesake` is the tuned model of that id, if the caller may use it."""

    def __init__(self, base_id: str, namesake: Ref | None = None):
        hint = " There is a tuned model {namesake}." if namesake else ""
        super().__init__(f"The base model {{model}} does not exist.{hint}", model=base_model(base_id))
        if namesake:
            self.refs["namesake"] = namesake
        self.namesake = namesake


@dataclass(frozen=True)
class Target:
    """What a request is for."""

    card: Card
    tuned_model: TunedModel | None = None

    @property
    def ref(self) -> Ref:
        """The model as sentences name it."""
        return base_model(self.card.id) if self.tuned_model is None else tuned_model(self.tuned_model.id)


class Models:
    """Finds cards, chat formats and tuned models by id."""

    def __init__(self, store: Store, registry: Registry, access: Access, only_base: str = ""):
        """`only_base` is the only base that this service serves; "" when it serves every one that was pulled."""
        self._store = store
        self._registry = registry
        self._access = access
        self._only_base = only_base
        self._chats: dict[str, Chat] = {}
        self._loading = Lock()

    def list_cards(self, asked: PageRequest) -> Page[Card]:
        """Return the cards of all base models by pages: aliases first, then the open models."""
        cards = list(enumerate(self._registry.list_cards(), start=1))

        def find(after: int, limit: int) -> list[tuple[int, Card]]:
            return cards[after : after + limit]

        page = read_page(self._store.pager("models"), asked, find, lambda found: found[0], CARDS_PAGE_SIZE)
        return Page([card for _, card in page.items], page.next_token)

    def get_card(self, base_id: str, caller: Caller) -> Card:
        """Return the card of this id. Raises UnknownBase."""
        card = self._registry.find_card(base_id)
        if card is None:
            raise UnknownBase(base_id, self._namesake(base_id, caller))
        return card

    def get_tuned(self, tuned_model_id: str, caller: Caller) -> Target:
        """Return what a tuned model's id stands for, once the caller may use it and it is ready.

        Raises NotFound, PermissionDenied, and FailedPrecondition for one that is not ACTIVE.
        """
        model = self._store.get_tuned_model(tuned_model_id)
        self._access.require(caller, Role.READER, model)
        if model.state != "ACTIVE":
            raise _not_ready(model)
        return Target(self.card_of(model), model)

    def card_of(self, model: TunedModel) -> Card:
        """Return a tuned model's card: the limits of the name it was made under, on its own base.

        An alias may point to another base by now; the adapter fits only the one it was tuned on.
        """
        named = self._registry.find_card(model.base_model)
        if named is not None and named.base_id == model.base_id:
            return named
        base = self._registry.find_card(model.base_id)
        if base is None:
            raise FailedPrecondition(
                "Tuned model {model} needs the base model {base}, which is not on this machine. "
                f"Fetch it with: overtone models pull {model.base_id}",
                model=tuned_model(model.id),
                base=base_model(model.base_id),
            )
        return replace(named or base, base_id=model.base_id, context_length=base.context_length)

    def chat_of(self, card: Card) -> Chat:
        """Return the chat format of the base behind a card, read when it is first needed.

        Raises FailedPrecondition when the base was not pulled.
        """
        with self._loading:
            if card.base_id not in self._chats:
                self._chats[card.base_id] = self._load_chat(card.base_id)
            return self._chats[card.base_id]

    def require_served(self, card: Card, named: Ref) -> None:
        """Raise FailedPrecondition, saying how to serve it, when this service does not serve a card's base."""
        base = base_model(card.base_id)
        if self._only_base and card.base_id != self._only_base:
            raise FailedPrecondition(
                "No engine serves the base model {base} of {model}; this service serves only {only}, because "
                "OVERTONE_EXTRA_BASES is 0.",
                base=base,
                model=named,
                only=base_model(self._only_base),
            )
        if not self._registry.has_base(card.base_id):
            raise FailedPrecondition(
                "The base model {base} of {model} is not on this machine. "
                f"Fetch it with: overtone models pull {card.base_id}",
                base=base,
                model=named,
            )

    def _load_chat(self, base_id: str) -> Chat:
        if not self._registry.has_base(base_id):
            raise FailedPrecondition(
                "The base model {base} is not on this machine yet. "
                f"Fetch it with: overtone models pull {base_id}",
                base=base_model(base_id),
            )
        return self._registry.load_chat(base_id)

    def _namesake(self, model_id: str, caller: Caller) -> Ref | None:
        model = self._store.find_tuned_model(model_id)
        if model is None or self._access.role_of(caller, model) < Role.READER:
            return None
        return tuned_model(model.id)


def build_models(store: Store, registry: Registry, access: Access, settings: Settings) -> Models:
    """Return what finds models for a service with these settings."""
    return Models(store, registry, access, only_base="" if settings.extra_bases > 0 else settings.base)


def failure_of(model: TunedModel) -> str:
    """Return, as the end of a sentence, why a tuned model failed."""
    if model.error_code == Code.CANCELLED.number:
        return "its tuning was cancelled before the first step was finished"
    reason = (model.error_message or "").removeprefix("Tuning failed: ").rstrip(".")
    return f"its tuning failed: {reason}"


def _not_ready(model: TunedModel) -> ApiError:
    ref = tuned_model(model.id)
    if model.state == "FAILED":
        return FailedPrecondition(f"Tuned model {{model}} cannot be used: {failure_of(model)}.", model=ref)
    progress = f"{model.completed_steps} of {model.total_steps} steps are done"
    if model.job_state == "QUEUED" and not model.completed_steps:
        progress = "it waits for its turn"
    return FailedPrecondition(
        f"Tuned model {{model}} is still being tuned: {progress}. Try again when it is ACTIVE.", model=ref
    )
