"""google.ai.generativelanguage.v1beta.GenerativeService: answers from base models and from tuned ones.

The prompt is rendered and measured here; the engine gets token ids and options, and sends back text.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from overtone.config import Settings
from overtone.doors.dispatch import Later
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.answers import Answer
from overtone.doors.gemini.prompts import Prompt, read_countable, read_prompt
from overtone.doors.gemini.sampling import read_options
from overtone.engine.protocol import GenerateEvent, GenerateRequest
from overtone.errors import InvalidArgument
from overtone.service.access import Caller
from overtone.service.chats import Chats
from overtone.service.targets import Target, Targets


class Engine(Protocol):
    """What answers for one base model (engine.client.EngineClient)."""

    def generate(self, request: GenerateRequest, timeout_s: float) -> AsyncIterator[GenerateEvent]:
        """Yield the events of one call; closing the iterator cancels the call in the engine."""
        ...


class Engines(Protocol):
    """What answers for each base model (engine.engines.Engines)."""

    def of(self, base_id: str) -> Engine:
        """Return what answers for this base, or will once it is loaded."""
        ...


@dataclass(frozen=True)
class Call:
    """A request that has passed every check, ready for the engine."""

    engine: Engine
    request: GenerateRequest
    answer: Answer


class GenerativeService:
    """Find, may you, ask the engine, answer."""

    def __init__(self, targets: Targets, chats: Chats, engines: Engines, settings: Settings):
        self.targets = targets
        self.chats = chats
        self.engines = engines
        self.timeout_s = settings.request_timeout_s

    def generate_content(
        self, request: m.GenerateContentRequest, caller: Caller
    ) -> Later[m.GenerateContentResponse]:
        """Return the whole answer."""
        return partial(self._whole, self._prepare(request, "generateContent", caller))

    def stream_generate_content(
        self, request: m.GenerateContentRequest, caller: Caller
    ) -> AsyncGenerator[m.GenerateContentResponse]:
        """Yield the answer as it is made. Closing the stream frees its place in the engine."""
        return self._pieces(self._prepare(request, "streamGenerateContent", caller))

    def count_tokens(self, request: m.CountTokensRequest, caller: Caller) -> m.CountTokensResponse:
        """Return how many tokens a prompt has, its template included, as generateContent counts them."""
        inner = request.generate_content_request
        if not inner.contents:
            inner = m.GenerateContentRequest(contents=request.contents)
        target = self.targets.get_target(request.model, "countTokens", caller)
        return m.CountTokensResponse(total_tokens=len(self._prompt_ids(target, read_countable(inner))))

    async def complete(self, call: Call) -> Answer:
        """Let the engine finish a call's answer, and return it."""
        async with self._events(call) as events:
            async for event in events:
                call.answer.add(event)
        return call.answer

    def plan(self, target: Target, prompt: Prompt, config: m.GenerationConfig) -> Call:
        """Return the call for a prompt.

        Raises InvalidArgument when the prompt leaves no room for an answer.
        """
        ids = self._prompt_ids(target, prompt)
        limit = target.card.context_length
        if len(ids) >= limit:
            raise InvalidArgument(
                f"The input token count ({len(ids)}) exceeds the maximum number of tokens allowed "
                f"({limit - 1})."
            )
        options = read_options(config, target, len(ids))
        request_id = secrets.token_urlsafe(12)
        request = self._engine_request(target, ids, options, request_id)
        return Call(self._engine(target), request, Answer(_version(target), request_id, len(ids)))

    def _prompt_ids(self, target: Target, prompt: Prompt) -> list[int]:
        return self.chats.of(target.card).prompt_ids(prompt.messages, prompt.system)

    def _prepare(self, request: m.GenerateContentRequest, method: str, caller: Caller) -> Call:
        target = self.targets.get_target(request.model, method, caller)
        return self.plan(target, read_prompt(request, target), request.generation_config)

    async def _whole(self, call: Call) -> m.GenerateContentResponse:
        return (await self.complete(call)).whole()

    async def _pieces(self, call: Call) -> AsyncGenerator[m.GenerateContentResponse]:
        async with self._events(call) as events:
            async for event in events:
                yield call.answer.piece(event)

    def _engine_request(
        self, target: Target, ids: list[int], options: Any, request_id: str
    ) -> GenerateRequest:
        bare = GenerateRequest.pb()(request_id=request_id, prompt_ids=ids, options=options)
        if target.row is not None:
            bare.tuned_model = target.name
            bare.adapter_folder = str(self.targets.store.artifacts_of(target.row).adapter)
            bare.adapter_digest = target.row.adapter_digest or ""
        request: GenerateRequest = GenerateRequest.wrap(bare)
        return request

    def _engine(self, target: Target) -> Engine:
        self.targets.require_served(target.card, target.name)
        return self.engines.of(target.card.base_id)

    def _events(self, call: Call) -> aclosing[Any]:
        """Return the engine's events; leaving them early frees the call's place there."""
        events: Any = call.engine.generate(call.request, self.timeout_s)
        return aclosing(events)


def _version(target: Target) -> str:
    return target.name if target.row is not None else target.card.id
