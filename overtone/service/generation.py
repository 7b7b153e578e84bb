"""Answers from base models and from tuned ones: a conversation becomes token ids, and the engine's pieces come back.

The prompt is rendered and measured here; the engine gets token ids and options.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from overtone.bases.registry import Card
from overtone.config import Settings
from overtone.domain.generation import Conversation, GenerationOptions, Piece
from overtone.engine.protocol import MAX_CANDIDATES, MAX_LOGPROBS, MAX_PENALTY, MAX_STOPS
from overtone.engine.request import AdapterRef, EngineRequest
from overtone.errors import InvalidArgument, refuse
from overtone.service.models import Models, Target
from overtone.service.rules import check_range
from overtone.store.store import Store


class AnswerEngine(Protocol):
    """What answers for one base model (engine.client.EngineClient)."""

    def answer(self, request: EngineRequest, timeout_s: float) -> AsyncGenerator[Piece]:
        """Yield the pieces of one call; closing the generator cancels the call in the engine."""
        ...


class AnswerEngines(Protocol):
    """What answers for each base model (engine.engines.Engines)."""

    def of(self, base_id: str) -> AnswerEngine:
        """Return what answers for this base, or will once it is loaded."""
        ...


@dataclass(frozen=True)
class EngineCall:
    """A request that has passed every check, ready for the engine."""

    engine: AnswerEngine
    request: EngineRequest

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.request.prompt_ids)


class Generation:
    """Plans calls, and lets engines answer them."""

    def __init__(self, store: Store, models: Models, engines: AnswerEngines, settings: Settings):
        self._store = store
        self._models = models
        self._engines = engines
        self._timeout_s = settings.request_timeout_s

    def plan(self, target: Target, conversation: Conversation, options: GenerationOptions) -> EngineCall:
        """Return the call for a conversation.

        Raises InvalidArgument for what the model's card does not allow, for options out of range, and when the
        conversation leaves no room for an answer; FailedPrecondition when no engine serves the base.
        """
        check_conversation(conversation, target)
        self._models.require_served(target.card, target.ref)
        ids = self._prompt_ids(target, conversation)
        limit = target.card.context_length
        if len(ids) >= limit:
            raise InvalidArgument(
                f"The input token count ({len(ids)}) exceeds the maximum number of tokens allowed "
                f"({limit - 1})."
            )
        resolved = resolve_options(options, target, len(ids))
        return EngineCall(self._engines.of(target.card.base_id), self._request(target, ids, resolved))

    def count_tokens(self, target: Target, conversation: Conversation) -> int:
        """Return how many tokens a conversation has, its template included, as an answer's prompt has them."""
        return len(self._prompt_ids(target, conversation))

    async def answer(self, call: EngineCall) -> AsyncGenerator[Piece]:
        """Yield the answer as it is made. Closing the generator frees the call's place in the engine."""
        async with aclosing(call.engine.answer(call.request, self._timeout_s)) as pieces:
            async for piece in pieces:
                yield piece

    def _prompt_ids(self, target: Target, conversation: Conversation) -> list[int]:
        messages = [{"role": turn.role, "content": turn.text} for turn in conversation.turns]
        return self._models.chat_of(target.card).prompt_ids(messages, conversation.system)

    def _request(self, target: Target, ids: list[int], options: GenerationOptions) -> EngineRequest:
        request = EngineRequest(secrets.token_urlsafe(12), ids, options)
        model = target.tuned_model
        if model is None:
            return request
        adapter = AdapterRef(self._store.artifacts_of(model).adapter, model.adapter_digest or "")
        return replace(request, tuned_model=model.id, adapter=adapter)


def check_conversation(conversation: Conversation, target: Target) -> None:
    """Hold a conversation against what the model's card allows. Raises InvalidArgument."""
    if conversation.turns[-1].role != "user":
        raise InvalidArgument("Please ensure that multiturn requests end with a user role.")
    if conversation.system is not None and not target.card.system_instruction:
        raise InvalidArgument("Developer instruction is not enabled for {model}", model=target.ref)
    limit = target.card.max_input_chars
    if limit is not None and conversation.num_chars > limit:
        problem = f"has {conversation.num_chars} characters; the limit of {{model}} is {limit}."
        raise refuse("conversation", problem, model=target.ref)


def resolve_options(wanted: GenerationOptions, target: Target, num_prompt_tokens: int) -> GenerationOptions:
    """Return options without gaps: the wishes, over the tuned model's defaults, over the base's.

    Raises InvalidArgument for values that cannot be, or not with this model.
    """
    _check_counts(wanted)
    if (wanted.json_mode or wanted.choices) and not target.card.json_mode:
        raise InvalidArgument("JSON mode is not enabled for this model")
    return replace(
        _with_distribution(wanted, target),
        max_tokens=_max_tokens(wanted, target.card, num_prompt_tokens),
        num_candidates=1 if wanted.num_candidates is None else wanted.num_candidates,
    )


def _check_counts(wanted: GenerationOptions) -> None:
    if len(wanted.stop) > MAX_STOPS:
        raise refuse("options.stop", f"has {len(wanted.stop)} items; the limit is {MAX_STOPS}.")
    if "" in wanted.stop:
        raise refuse(f"options.stop[{wanted.stop.index('')}]", "is empty; it would stop every answer.")
    _check_bounds("num_candidates", wanted.num_candidates, 1, MAX_CANDIDATES)
    _check_bounds("logprobs", wanted.logprobs, 0, MAX_LOGPROBS)
    for name in ("presence_penalty", "frequency_penalty"):
        check_range(f"options.{name}", getattr(wanted, name), -MAX_PENALTY, MAX_PENALTY)


def _check_bounds(name: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise refuse(f"options.{name}", f"is {value}; it must lie between {low} and {high}.")


def _with_distribution(wanted: GenerationOptions, target: Target) -> GenerationOptions:
    temperature = _first("temperature", wanted, target)
    top_p = _first("top_p", wanted, target)
    check_range("options.temperature", temperature, 0, target.card.max_temperature)
    check_range("options.top_p", top_p, 0, 1)
    if wanted.top_k is not None and wanted.top_k < 1:
        raise refuse("options.top_k", f"is {wanted.top_k}; it must be at least 1.")
    top_k = max(0, _first("top_k", wanted, target))  # cards of older pulls have the publisher's -1: off
    if top_p == 0:  # the smallest set of tokens is the likeliest one; to the engine 0 means "off"
        temperature = 0
    return replace(wanted, temperature=temperature, top_p=top_p, top_k=top_k)


def _first(name: str, wanted: GenerationOptions, target: Target) -> Any:
    given = (getattr(source, name, None) for source in (wanted, target.tuned_model, target.card))
    return next(value for value in given if value is not None)


def _max_tokens(wanted: GenerationOptions, card: Card, num_prompt_tokens: int) -> int:
    """Return how long the answer may be: as asked, and never beyond the context."""
    limit = card.output_token_limit or card.context_length
    _check_bounds("max_tokens", wanted.max_tokens, 1, limit)
    asked = limit if wanted.max_tokens is None else wanted.max_tokens
    return min(asked, card.context_length - num_prompt_tokens)
