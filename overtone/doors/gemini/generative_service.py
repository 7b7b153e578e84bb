"""google.ai.generativelanguage.v1beta.GenerativeService: answers from base models and from tuned ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from overtone.domain.sharing import Caller
from overtone.doors.dispatch import Later
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.answers import Answer
from overtone.doors.gemini.models_by_name import get_target
from overtone.doors.gemini.names import format_tuned_model
from overtone.doors.gemini.options import read_options
from overtone.doors.gemini.prompts import read_countable, read_prompt
from overtone.service.generation import EngineCall, Generation
from overtone.service.models import Models, Target


class GenerativeService:
    """Translates; the rules are those of service.generation."""

    def __init__(self, models: Models, generation: Generation):
        self.models = models
        self.generation = generation

    def generate_content(
        self, request: m.GenerateContentRequest, caller: Caller
    ) -> Later[m.GenerateContentResponse]:
        """Return the whole answer."""
        return partial(self._whole, *self._prepare(request, "generateContent", caller))

    def stream_generate_content(
        self, request: m.GenerateContentRequest, caller: Caller
    ) -> AsyncGenerator[m.GenerateContentResponse]:
        """Yield the answer as it is made. Closing the stream frees its place in the engine."""
        return self._pieces(*self._prepare(request, "streamGenerateContent", caller))

    def count_tokens(self, request: m.CountTokensRequest, caller: Caller) -> m.CountTokensResponse:
        """Return how many tokens a prompt has, its template included, as generateContent counts them."""
        inner = request.generate_content_request
        if not inner.contents:
            inner = m.GenerateContentRequest(contents=request.contents)
        target = get_target(self.models, request.model, "countTokens", caller)
        return m.CountTokensResponse(total_tokens=self.generation.count_tokens(target, read_countable(inner)))

    def _prepare(
        self, request: m.GenerateContentRequest, method: str, caller: Caller
    ) -> tuple[EngineCall, Answer]:
        target = get_target(self.models, request.model, method, caller)
        conversation = read_prompt(request, target)
        call = self.generation.plan(target, conversation, read_options(request.generation_config, target))
        return call, begin_answer(target, call)

    async def _whole(self, call: EngineCall, answer: Answer) -> m.GenerateContentResponse:
        return (await complete(self.generation, call, answer)).whole()

    async def _pieces(self, call: EngineCall, answer: Answer) -> AsyncGenerator[m.GenerateContentResponse]:
        async with aclosing(self.generation.answer(call)) as pieces:
            async for piece in pieces:
                yield answer.next(piece)


async def complete(generation: Generation, call: EngineCall, answer: Answer) -> Answer:
    """Let the engine finish an answer, and return it."""
    async with aclosing(generation.answer(call)) as pieces:
        async for piece in pieces:
            answer.add(piece)
    return answer


def begin_answer(target: Target, call: EngineCall) -> Answer:
    """Return the answer to a call, empty as yet."""
    model = target.tuned_model
    version = target.card.id if model is None else format_tuned_model(model.id)
    return Answer(version, call.request.request_id, call.num_prompt_tokens)
