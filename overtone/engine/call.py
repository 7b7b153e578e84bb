"""A request in the engine: its checks, its candidates (one per answer) and their events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from overtone.engine.grammar import ANY_JSON, Grammar, Grammars
from overtone.engine.protocol import (
    MAX_CANDIDATES,
    MAX_LOGPROBS,
    GenerateEvent,
    GenerateRequest,
    SamplingOptions,
    TokenLogprobs,
    TopToken,
)
from overtone.engine.sampling import ChosenToken, Sampler
from overtone.engine.scheduler import Sequence
from overtone.engine.text import TextStream
from overtone.errors import InvalidArgument

_keys = count(1)


@dataclass(frozen=True)
class Vocabulary:
    """The base's tokenizer for the engine: how to decode ids, which ids end an answer, the context length."""

    decode: Callable[[Seq[int]], str]
    eos_ids: frozenset[int]
    context_length: int
    grammars: Grammars


@dataclass(eq=False)
class Candidate:
    """One answer that is being generated."""

    index: int
    sequence: Sequence
    sampler: Sampler
    text: TextStream
    max_tokens: int
    grammar: Grammar | None = None
    num_tokens: int = 0
    sum_logprobs: float = 0.0
    finish_reason: str = ""

    def add(self, chosen: ChosenToken, vocabulary: Vocabulary, show_logprobs: bool) -> GenerateEvent:
        """Add a sampled token to the answer. Return what the caller may see now."""
        self.sum_logprobs += chosen.logprob
        self.num_tokens += 1
        text = ""
        if chosen.token_id in vocabulary.eos_ids:
            self.finish_reason = "STOP"
        else:
            text = self._append(chosen.token_id)
        if self.finish_reason:
            text += self.text.flush()
        return self._event(chosen, text, vocabulary, show_logprobs)

    def _append(self, token_id: int) -> str:
        self.sequence.ids.append(token_id)
        text = self.text.feed(token_id)
        if self.grammar:
            self.grammar.consume(token_id)
        if self.text.stopped or (self.grammar and self.grammar.is_complete):
            self.finish_reason = "STOP"
        elif self.num_tokens >= self.max_tokens:
            self.finish_reason = "MAX_TOKENS"
        return text

    def _event(
        self, chosen: ChosenToken, text: str, vocabulary: Vocabulary, show_logprobs: bool
    ) -> GenerateEvent:
        return GenerateEvent(
            index=self.index,
            text=text,
            logprobs=[_logprobs(chosen, vocabulary)] if show_logprobs else [],
            finish_reason=self.finish_reason,
            candidate_tokens=self.num_tokens,
            avg_logprob=self.sum_logprobs / self.num_tokens if self.finish_reason else 0.0,
        )


@dataclass(eq=False)
class Call:
    """A request and its candidates. They share one prefill, because the others wait for the first."""

    tuned_model: str
    adapter_folder: Path
    adapter_digest: str
    show_logprobs: bool
    candidates: list[Candidate]
    started_at: float = field(default_factory=time.monotonic)
    first_token_at: float = 0.0

    @classmethod
    def parse(cls, request: GenerateRequest, vocabulary: Vocabulary) -> Call:
        """Check a request and create its candidates. Raises InvalidArgument that names option, value and limit."""
        options = request.options
        _check_options(options)
        prompt_ids = list(request.prompt_ids)
        room = _room(len(prompt_ids), vocabulary.context_length)
        if request.adapter_folder and not request.adapter_digest:
            raise InvalidArgument("adapter_folder needs adapter_digest: the identity of the weights.")
        max_tokens = min(options.max_tokens or room, room)
        first = Sequence(next(_keys), request.adapter_digest, prompt_ids, request.tuned_model)
        candidates = []
        for index in range(options.num_candidates or 1):
            sequence = first
            if index:
                sequence = Sequence(
                    next(_keys), first.digest, list(prompt_ids), first.tuned_model, leader=first
                )
            text = TextStream(vocabulary.decode, options.stop)
            sampler = _sampler(options, index, vocabulary)
            grammar = _grammar(options, vocabulary)
            candidates.append(Candidate(index, sequence, sampler, text, max_tokens, grammar))
        shown = "logprobs" in options and options.logprobs >= 0
        return cls(request.tuned_model, Path(request.adapter_folder), first.digest, shown, candidates)


def _check_options(options: SamplingOptions) -> None:
    """Raise for what would end the engine; what a caller may ask for is checked before the socket."""
    ranges = {
        "temperature": (options.temperature, 0, math.inf),
        "top_p": (options.top_p, 0, 1),
        "top_k": (options.top_k, 0, math.inf),
        "max_tokens": (options.max_tokens, 0, math.inf),
        "num_candidates": (options.num_candidates, 0, MAX_CANDIDATES),
        "presence_penalty": (abs(options.presence_penalty), 0, math.inf),
        "frequency_penalty": (abs(options.frequency_penalty), 0, math.inf),
        "logprobs": (options.logprobs, -1, MAX_LOGPROBS),
    }
    for name, (value, lowest, highest) in ranges.items():
        if not lowest <= value <= highest:  # also true of NaN
            raise InvalidArgument(f"{name} is {value:g}; it must lie between {lowest:g} and {highest:g}.")


def _room(num_prompt: int, context_length: int) -> int:
    """Return how many tokens may follow the prompt."""
    if not num_prompt:
        raise InvalidArgument("The prompt is empty.")
    if num_prompt >= context_length:
        raise InvalidArgument(
            f"The prompt has {num_prompt} tokens; the model's context has {context_length}, including the answer. "
            "Shorten the prompt: nothing is truncated silently."
        )
    return context_length - num_prompt


def _sampler(options: SamplingOptions, index: int, vocabulary: Vocabulary) -> Sampler:
    """Return a candidate's sampler. Candidates of the same request and seed draw differently."""
    return Sampler(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        seed=abs(options.seed) * MAX_CANDIDATES + index if "seed" in options else None,
        min_tokens=options.min_tokens,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        num_logprobs=max(options.logprobs, 0) if "logprobs" in options else 0,
        eos_ids=vocabulary.eos_ids,
    )


def wants_grammar(options: SamplingOptions) -> bool:
    """Whether the answer needs a grammar, which takes a while to build."""
    return bool(options.json_mode or options.response_schema or options.choices)


def _grammar(options: SamplingOptions, vocabulary: Vocabulary) -> Grammar | None:
    if options.choices:
        return vocabulary.grammars.start_choice(list(options.choices))
    return vocabulary.grammars.start(options.response_schema or ANY_JSON) if wants_grammar(options) else None


def _logprobs(chosen: ChosenToken, vocabulary: Vocabulary) -> TokenLogprobs:
    top = [TopToken(token=vocabulary.decode([id_]), token_id=id_, logprob=value) for id_, value in chosen.top]
    text = vocabulary.decode([chosen.token_id])
    return TokenLogprobs(token=text, token_id=chosen.token_id, logprob=chosen.logprob, top=top)
