"""A base of bytes and an engine that echoes: small stand-ins for what the service talks to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from overtone.bases.registry import ALIASES, Card
from overtone.dataset.examples import Example
from overtone.domain.generation import Piece
from overtone.engine.client import to_message
from overtone.engine.protocol import GenerateRequest
from overtone.engine.request import EngineRequest

BASE = "tiny"
CONTEXT_LENGTH = 64


def tiny_card(**values: object) -> Card:
    """A card of the base that all tests tune: its context is short and its tokens are bytes."""
    defaults = {"output_token_limit": 32, "input_token_limit": 32, "context_length": CONTEXT_LENGTH}
    return Card(BASE, "Tiny", "For tests", BASE, revision="r1", **{**defaults, **values})  # type: ignore[arg-type]


class TinyRegistry:
    """The tiny base, and the aliases that point to it."""

    def __init__(self, *cards: Card) -> None:
        self.cards = cards or (tiny_card(),)

    def list_cards(self) -> list[Card]:
        return [*map(self._behind, ALIASES), *self.cards]

    def find_card(self, model_id: str) -> Card | None:
        return next((card for card in self.list_cards() if card.id == model_id), None)

    def has_base(self, base_id: str) -> bool:
        return any(card.base_id == base_id for card in self.cards)

    def load_chat(self, base_id: str) -> ByteChat:
        return ByteChat()

    def _behind(self, alias: Card) -> Card:
        return replace(alias, base_id=BASE, context_length=100_000)


class OneEngine:
    """The engine of the only base."""

    def __init__(self, engine: EchoEngine) -> None:
        self.engine = engine

    def of(self, base_id: str) -> EchoEngine:
        return self.engine


class ByteChat:
    """One token a byte, one more for each message, one for the answer's start and one for its end."""

    def prompt_ids(self, messages: Sequence[Mapping[str, str]], system: str | None = None) -> list[int]:
        texts = [system or "", *(message["content"] for message in messages)]
        return [256, *(byte for text in texts for byte in (*text.encode(), 257))]

    def encode_example(self, example: Example) -> tuple[list[int], list[tuple[int, int]]]:
        prompt = self.prompt_ids([{"role": "user", "content": example.text_input}])
        ids = [*prompt, *example.output.encode(), 258]
        return ids, [(len(prompt), len(ids))]

    def count(self, text: str) -> int:
        return len(text.encode())


@dataclass
class EchoEngine:
    """Answers with the words of the prompt, one piece each, and remembers what it was asked, as the socket carries it.

    `error` is raised instead of the last word; `hold_after` makes it wait for ever after so many words.
    """

    requests: list[GenerateRequest] = field(default_factory=list)
    open_calls: int = 0
    error: Exception | None = None
    hold_after: int | None = None
    holds: bool = False

    async def answer(self, request: EngineRequest, timeout_s: float) -> AsyncGenerator[Piece]:
        self.requests.append(to_message(request))
        self.open_calls += 1
        try:
            for index in range(request.options.num_candidates or 0):
                async for piece in self._answer(index, request):
                    yield piece
        finally:
            self.open_calls -= 1

    async def _answer(self, index: int, request: EngineRequest) -> AsyncIterator[Piece]:
        text = bytes(token for token in request.prompt_ids if token < 256).decode()
        words = [word + " " for word in text.split(" ")]
        for count, word in enumerate(words, start=1):
            await self._stumble(count, len(words))
            yield Piece(index, word, count)
        yield Piece(index, "", len(words) + 1, "STOP", -0.5)

    async def _stumble(self, count: int, num_words: int) -> None:
        if self.error is not None and count == num_words:
            raise self.error
        if self.hold_after is not None and count > self.hold_after:
            self.holds = True
            await asyncio.Event().wait()
