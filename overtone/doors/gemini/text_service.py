"""google.ai.generativelanguage.v1beta.TextService:

the PaLM-era generateText, kept for the scripts of its time.
"""

from __future__ import annotations

from functools import partial

from overtone.doors.dispatch import Later
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.generative_service import Call, GenerativeService
from overtone.doors.gemini.prompts import Prompt
from overtone.service.access import Caller
from overtone.service.rules import refuse

SHARED_FIELDS = ("temperature", "top_p", "top_k", "candidate_count", "max_output_tokens")


class TextService:
    """The same answers in the older shape."""

    def __init__(self, generative: GenerativeService):
        self.generative = generative

    def generate_text(self, request: m.GenerateTextRequest, caller: Caller) -> Later[m.GenerateTextResponse]:
        """Answer one text with one or more."""
        return partial(self._answer, self._prepare(request, caller))

    async def _answer(self, call: Call) -> m.GenerateTextResponse:
        answer = await self.generative.complete(call)
        texts = ("".join(candidate.text) for _, candidate in sorted(answer.candidates.items()))
        return m.GenerateTextResponse(candidates=[m.TextCompletion(output=text) for text in texts])

    def _prepare(self, request: m.GenerateTextRequest, caller: Caller) -> Call:
        if not request.prompt.text:
            raise refuse("prompt.text", "is empty; say something to the model.")
        target = self.generative.targets.get_target(request.model, "generateText", caller)
        given = {name: getattr(request, name) for name in SHARED_FIELDS if name in request}
        config = m.GenerationConfig(stop_sequences=request.stop_sequences, **given)
        prompt = Prompt([{"role": "user", "content": request.prompt.text}])
        return self.generative.plan(target, prompt, config)
