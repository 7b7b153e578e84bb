"""google.ai.generativelanguage.v1beta.TextService:

the PaLM-era generateText, kept for the scripts of its time.
"""

from __future__ import annotations

from functools import partial

from overtone.dataset.examples import Turn
from overtone.domain.generation import Conversation
from overtone.domain.sharing import Caller
from overtone.doors.dispatch import Later
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.answers import Answer
from overtone.doors.gemini.generative_service import begin_answer, complete
from overtone.doors.gemini.models_by_name import get_target
from overtone.doors.gemini.options import read_options
from overtone.errors import refuse
from overtone.service.generation import EngineCall, Generation
from overtone.service.models import Models

SHARED_FIELDS = ("temperature", "top_p", "top_k", "candidate_count", "max_output_tokens")


class TextService:
    """The same answers in the older shape."""

    def __init__(self, models: Models, generation: Generation):
        self.models = models
        self.generation = generation

    def generate_text(self, request: m.GenerateTextRequest, caller: Caller) -> Later[m.GenerateTextResponse]:
        """Answer one text with one or more."""
        return partial(self._answer, *self._prepare(request, caller))

    async def _answer(self, call: EngineCall, answer: Answer) -> m.GenerateTextResponse:
        texts = (await complete(self.generation, call, answer)).texts()
        return m.GenerateTextResponse(candidates=[m.TextCompletion(output=text) for text in texts])

    def _prepare(self, request: m.GenerateTextRequest, caller: Caller) -> tuple[EngineCall, Answer]:
        if not request.prompt.text:
            raise refuse("prompt.text", "is empty; say something to the model.")
        target = get_target(self.models, request.model, "generateText", caller)
        given = {name: getattr(request, name) for name in SHARED_FIELDS if name in request}
        config = m.GenerationConfig(stop_sequences=request.stop_sequences, **given)
        conversation = Conversation((Turn("user", request.prompt.text),))
        call = self.generation.plan(target, conversation, read_options(config, target))
        return call, begin_answer(target, call)
