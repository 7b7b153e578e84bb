"""Samples a token from a row of logits by the request's options.

The order is the Gemini API's: penalties, temperature, top-k, top-p, draw. Every request has its own random
generator, so the same seed gives the same text whatever else is in the batch. Temperature 0 takes the most likely
token, without a draw.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

NUCLEUS_GUESS = 256  # top-p first looks at this many top tokens; only a flat distribution needs a full sort


@dataclass(frozen=True)
class Logits:
    """A step's logits_BV, with each row's most likely token and log Σ e^logit."""

    rows: Tensor
    likeliest: Sequence[int]
    log_totals: Sequence[float]

    @classmethod
    def of(cls, rows: Tensor) -> Logits:
        """Compute both for rows of logits on any device."""
        return cls(rows.cpu(), rows.argmax(1).tolist(), rows.logsumexp(1).tolist())


@dataclass(frozen=True)
class ChosenToken:
    """A sampled token, its log probability under the model, and the most likely tokens at its position."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass
class Sampler:
    """The options of one candidate and its state so far."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    min_tokens: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    num_logprobs: int = 0  # how many of the most likely tokens to report beside the sampled one
    eos_ids: frozenset[int] = frozenset()
    _counts: Counter[int] = field(default_factory=Counter)

    @cached_property
    def _random(self) -> np.random.Generator:
        return np.random.default_rng(secrets.randbits(64) if self.seed is None else self.seed)

    def choose(self, logits: Logits, row: int, allowed: Tensor | None = None) -> ChosenToken:
        """Sample from a row of logits. `allowed` is a grammar's mask over the vocabulary, if there is one."""
        logits_V = logits.rows[row]
        adjusted_V = self._adjust(logits_V, allowed)
        if self.temperature > 0:
            token_id = self._draw(adjusted_V)
        else:
            token_id = logits.likeliest[row] if adjusted_V is logits_V else int(adjusted_V.argmax())
        self._counts[token_id] += 1
        return self._chosen(token_id, logits_V, logits.log_totals[row])

    def _adjust(self, logits_V: Tensor, allowed: Tensor | None) -> Tensor:
        early = self._counts.total() < self.min_tokens and allowed is None
        penal = bool(self._counts) and (self.presence_penalty or self.frequency_penalty)
        if allowed is None and not early and not penal:
            return logits_V
        logits_V = logits_V.clone()
        if penal:
            self._penalise(logits_V)
        if early:
            logits_V[_index(self.eos_ids)] = -math.inf
        return logits_V if allowed is None else logits_V.masked_fill_(~allowed, -math.inf)

    def _penalise(self, logits_V: Tensor) -> None:
        """logit −= presence + frequency · count, for the tokens that were generated."""
        counts = torch.tensor(list(self._counts.values()), dtype=logits_V.dtype)
        penalty = self.presence_penalty + self.frequency_penalty * counts
        logits_V[_index(self._counts)] -= penalty.to(logits_V.device)

    def _draw(self, logits_V: Tensor) -> int:
        weights_N, ids_N = self._candidates(logits_V.double().div(self.temperature))
        cumulative_N = weights_N.cumsum(0)
        place = int(torch.searchsorted(cumulative_N, self._random.random() * cumulative_N[-1], right=True))
        return int(ids_N[min(place, len(ids_N) - 1)])

    def _candidates(self, scores_V: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights and ids of the tokens that pass top-k and top-p, the most likely first."""
        filtered = 0 < self.top_p < 1
        size = len(scores_V)
        count = min(self.top_k or size, size)
        if not self.top_k and not filtered:
            return (scores_V - scores_V.max()).exp(), torch.arange(size)
        log_total = scores_V.logsumexp(0) if not self.top_k else None
        scores_N, ids_N = scores_V.topk(min(count, NUCLEUS_GUESS))
        if self._needs_more(scores_N, log_total, count):
            scores_N, ids_N = scores_V.topk(count)
        weights_N = (scores_N - scores_N.logsumexp(0) if log_total is None else scores_N - log_total).exp()
        if not filtered:
            return weights_N, ids_N
        before_N = weights_N.cumsum(0) - weights_N
        keep = int((before_N < self.top_p).sum())
        return weights_N[: max(keep, 1)], ids_N[: max(keep, 1)]

    def _needs_more(self, scores_N: Tensor, log_total: Tensor | None, count: int) -> bool:
        if len(scores_N) == count:
            return False
        return log_total is None or bool((scores_N - log_total).exp().sum() < self.top_p)

    def _chosen(self, token_id: int, logits_V: Tensor, log_total: float) -> ChosenToken:
        logprob = float(logits_V[token_id]) - log_total
        if not self.num_logprobs:
            return ChosenToken(token_id, logprob)
        values, ids = logits_V.topk(self.num_logprobs)
        return ChosenToken(
            token_id, logprob, tuple(zip(ids.tolist(), (values - log_total).tolist(), strict=True))
        )


def _index(ids: Iterable[int]) -> Tensor:
    return torch.tensor(list(ids), dtype=torch.long)
