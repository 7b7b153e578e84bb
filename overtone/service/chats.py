"""The chat format of each base, loaded when it is first needed and then kept."""

from __future__ import annotations

from threading import Lock

from overtone.bases.chat import Chat
from overtone.bases.registry import Card, Registry
from overtone.errors import FailedPrecondition


class Chats:
    """Tokenizers and templates by base model."""

    def __init__(self, registry: Registry):
        self._registry = registry
        self._chats: dict[str, Chat] = {}
        self._loading = Lock()

    def of(self, card: Card) -> Chat:
        """Return the chat format of the base behind a card.

        Raises FailedPrecondition when it was not pulled.
        """
        with self._loading:
            if card.base_id not in self._chats:
                if not self._registry.has_base(card.base_id):
                    raise FailedPrecondition(
                        f"The base model models/{card.base_id} is not on this machine yet. "
                        f"Fetch it with: overtone models pull {card.base_id}"
                    )
                self._chats[card.base_id] = Chat(self._registry.base_folder(card.base_id))
            return self._chats[card.base_id]
