"""Constrained decoding for JSON: at every token the sampler may choose only what the schema still allows.

llguidance (https://github.com/guidance-ai/llguidance) does the work: it follows the schema as a grammar over the
base's own tokens, in about a millisecond a token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import llguidance
import numpy as np

from overtone.errors import InvalidArgument

LAYOUT: Any = {"whitespace_pattern": r"\n?[ \t]{0,40}"}
"""What may stand between two tokens of JSON: one line break with indentation, or nothing. Unlimited white space can
use up all tokens; with none allowed, a model that writes one field a line fails more often.
"""

ANY_JSON = '{"anyOf": [{"type": "object"}, {"type": "array"}]}'  # JSON mode without a schema


class Grammar:
    """The state of one candidate in its schema."""

    def __init__(self, matcher: llguidance.LLMatcher, vocab_size: int):
        self._matcher = matcher
        self._vocab_size = vocab_size

    @property
    def is_complete(self) -> bool:
        """Whether the answer is complete: nothing more can follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return a mask over the vocabulary: which tokens may come next."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, count=self._vocab_size, bitorder="little").view(np.bool_)

    def consume(self, token_id: int) -> None:
        """Advance by a sampled token."""
        self._matcher.consume_token(token_id)


class Grammars:
    """Makes grammars for a base's tokenizer. The first grammar reads the tokenizer, which takes 0.5 s."""

    def __init__(self, base_folder: Path, vocab_size: int, eos_id: int):
        self._base_folder = base_folder
        self._vocab_size = vocab_size
        self._eos_id = eos_id

    def start(self, schema: str = ANY_JSON) -> Grammar:
        """Return a grammar in its initial state. Raises InvalidArgument with the reason for a bad schema."""
        try:
            grammar = llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=LAYOUT)
        except ValueError as error:
            raise _unusable(str(error)) from None
        return self._start(grammar)

    def start_choice(self, choices: Sequence[str]) -> Grammar:
        """Return a grammar that allows exactly one of these texts. Raises as `start` does."""
        return self._start(
            llguidance.LLMatcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, choices)))
        )

    def _start(self, grammar: str) -> Grammar:
        problem = llguidance.LLMatcher.validate_grammar(grammar, self._tokenizer)
        if problem:
            raise _unusable(problem)
        return Grammar(llguidance.LLMatcher(self._tokenizer, grammar), self._vocab_size)

    @cached_property
    def _tokenizer(self) -> llguidance.LLTokenizer:
        text = (self._base_folder / "tokenizer.json").read_text(encoding="utf-8")
        return llguidance.LLTokenizer(text, n_vocab=self._vocab_size, eos_token=self._eos_id)


def _unusable(problem: str) -> InvalidArgument:
    return InvalidArgument(f"The response schema cannot be used: {problem}")
