"""A base of bytes and an engine that echoes: small stand-ins for what the service talks to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from overtone.engine.protocol import GenerateEvent, GenerateRequest
from overtone.model.registry import ALIASES, Card

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

    def _behind(self, alias: Card) -> Card:
        from dataclasses import replace

        return replace(alias, base_id=BASE, context_length=100_000)


class ByteChat:
    """One token a byte, one more for each message, one for the answer's start and one for its end."""

    def prompt_ids(self, messages: Sequence[Mapping[str, str]], system: str | None = None) -> list[int]:
        texts = [system or "", *(message["content"] for message in messages)]
        return [256, *(byte for text in texts for byte in (*text.encode(), 257))]

    def example_ids(self, text_input: str, output: str) -> tuple[list[int], int]:
        prompt = self.prompt_ids([{"role": "user", "content": text_input}])
        return [*prompt, *output.encode(), 258], len(prompt)

    def count(self, text: str) -> int:
        return len(text.encode())


class TinyChats:
    def of(self, card: Card) -> ByteChat:
        return ByteChat()


@dataclass
class EchoEngine:
    """Answers with the words of the prompt, one event each, and remembers what it was asked."""

    requests: list[GenerateRequest] = field(default_factory=list)
    open_calls: int = 0
    error: Exception | None = None
    wait: object = None

    async def generate(self, request: GenerateRequest, timeout_s: float) -> AsyncIterator[GenerateEvent]:
        self.requests.append(request)
        self.open_calls += 1
        try:
            text = bytes(token for token in request.prompt_ids if token < 256).decode()
            words = [word + " " for word in text.split(" ")]
            for index in range(request.options.num_candidates):
                for count, word in enumerate(words, start=1):
                    if self.error is not None and count == len(words):
                        raise self.error
                    if self.wait is not None:
                        await self.wait  # type: ignore[misc]
                    yield GenerateEvent(
                        index=index, text=word, prompt_tokens=len(request.prompt_ids), candidate_tokens=count
                    )
                yield GenerateEvent(
                    index=index, finish_reason="STOP", candidate_tokens=len(words) + 1, avg_logprob=-0.5
                )
        finally:
            self.open_calls -= 1
