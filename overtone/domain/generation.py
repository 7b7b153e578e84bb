"""What is asked of a model, and what comes back piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from overtone.dataset.examples import Turn


@dataclass(frozen=True)
class Conversation:
    """Turns, of which the last is the user's, and the instruction before them if there is one."""

    turns: tuple[Turn, ...]
    system: str | None = None

    @property
    def num_chars(self) -> int:
        return sum(len(turn.text) for turn in self.turns) + len(self.system or "")


@dataclass(frozen=True)
class GenerationOptions:
    """How to choose tokens and when to stop. None: as the tuned model says, or else its base."""

    temperature: float | None = None  # 0: always the likeliest token
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    num_candidates: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    logprobs: int | None = None  # of each chosen token, and of so many of the likeliest beside it
    json_mode: bool = False  # the answer is JSON …
    schema: Mapping[str, Any] | None = None  # … and valid by this JSON schema
    choices: tuple[str, ...] = ()  # the answer is one of these texts


@dataclass(frozen=True)
class TopToken:
    """One of the likeliest tokens at a place."""

    token: str
    token_id: int
    logprob: float


@dataclass(frozen=True)
class TokenLogprobs:
    """The chosen token at a place, with its natural log probability before temperature and filters."""

    token: str
    token_id: int
    logprob: float
    top: tuple[TopToken, ...] = ()


@dataclass(frozen=True)
class Piece:
    """What became final of one candidate. Text never ends inside a character nor inside a stop sequence."""

    index: int
    text: str
    num_tokens: int  # of the candidate so far
    finish_reason: str = ""  # "" while it goes on, then STOP or MAX_TOKENS
    avg_logprob: float = 0.0  # at the finish
    logprobs: tuple[TokenLogprobs, ...] = ()
