"""Samples a token from a row of logits by the request's options.

The order is the Gemini API's: penalties, temperature, top-k, top-p, draw. Every request has its own random
generator, so the same seed gives the same text whatever else is in the batch. Temperature 0 takes the most likely
token, without a draw.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

NUCLEUS_GUESS = 256  # top-p first looks at this many top tokens; only a flat distribution needs a full sort
BLOCKS_PER_TOKEN = 8  # so many blocks of the vocabulary for each of the top tokens that are looked for
SUM_BLOCK = 256

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Logits:
    """A step's logits_BV in float32, with each row's most likely token and log Σ e^logit."""

    rows: Array
    likeliest: Sequence[int]
    log_totals: Sequence[float]


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

    def choose(self, logits: Logits, row: int, allowed: Array | None = None) -> ChosenToken:
        """Sample from a row of logits. `allowed` is a grammar's mask over the vocabulary, if there is one."""
        logits_V = logits.rows[row]
        adjusted_V = self._adjust(logits_V, allowed)
        if self.temperature > 0:
            token_id = self._draw(adjusted_V)
        else:
            token_id = logits.likeliest[row] if adjusted_V is logits_V else int(adjusted_V.argmax())
        self._counts[token_id] += 1
        return self._chosen(token_id, logits_V, logits.log_totals[row])

    def _adjust(self, logits_V: Array, allowed: Array | None) -> Array:
        early = self._counts.total() < self.min_tokens and allowed is None
        penal = bool(self._counts) and (self.presence_penalty or self.frequency_penalty)
        if allowed is None and not early and not penal:
            return logits_V
        logits_V = logits_V.copy()
        if penal:
            self._penalise(logits_V)
        if early:
            logits_V[list(self.eos_ids)] = -math.inf
        if allowed is not None:
            logits_V[~allowed] = -math.inf
        return logits_V

    def _penalise(self, logits_V: Array) -> None:
        """logit −= presence + frequency · count, for the tokens that were generated."""
        counts = np.array(list(self._counts.values()), logits_V.dtype)
        logits_V[list(self._counts)] -= self.presence_penalty + self.frequency_penalty * counts

    def _draw(self, logits_V: Array) -> int:
        weights_N, ids_N = self._candidates(logits_V)
        place = find_share(weights_N, self._random.random())
        return place if ids_N is None else int(ids_N[place])

    def _candidates(self, logits_V: Array) -> tuple[Array, Array | None]:
        """Return the weights and ids of the tokens that pass top-k and top-p, the most likely first.

        Without either, every token is a candidate in the order of the vocabulary, and there are no ids.
        """
        nucleus = 0 < self.top_p < 1
        if self.top_k:
            ids_N = likeliest(logits_V, self.top_k)
            weights_N = self._weights(logits_V[ids_N])
            total = weights_N.sum()
        else:
            weights_V = self._weights(logits_V)
            if not nucleus:
                return weights_V, None
            total = weights_V.sum()
            ids_N = likeliest(logits_V, NUCLEUS_GUESS)
            if weights_V[ids_N].sum() < self.top_p * total:
                ids_N = likeliest(logits_V, len(logits_V))
            weights_N = weights_V[ids_N]
        if not nucleus:
            return weights_N, ids_N
        before_N = weights_N.cumsum() - weights_N
        keep = max(int((before_N < self.top_p * total).sum()), 1)
        return weights_N[:keep], ids_N[:keep]

    def _weights(self, logits_N: Array) -> Array:
        """Return e^(logit / temperature) in float64, relative to the largest."""
        scores_N = logits_N.astype(np.float64)
        scores_N /= self.temperature
        scores_N -= scores_N.max()
        return np.exp(scores_N, out=scores_N)

    def _chosen(self, token_id: int, logits_V: Array, log_total: float) -> ChosenToken:
        logprob = float(logits_V[token_id]) - log_total
        if not self.num_logprobs:
            return ChosenToken(token_id, logprob)
        ids = likeliest(logits_V, self.num_logprobs)
        values = logits_V[ids] - log_total
        return ChosenToken(token_id, logprob, tuple(zip(ids.tolist(), values.tolist(), strict=True)))


def likeliest(logits_V: Array, count: int) -> Array:
    """Return the ids of the `count` largest logits, the largest first; of equal ones the smaller id first.

    At least `count` blocks have a maximum that is not below the count-th largest maximum, so only the few logits that
    are not below it are sorted. numpy's argpartition takes 10 times as long on some processors, and its choice among
    equal logits depends on the processor.
    """
    size = len(logits_V) // (BLOCKS_PER_TOKEN * count)
    if size < 2:
        return np.argsort(-logits_V, kind="stable")[:count]
    maxima = np.maximum.reduceat(logits_V, np.arange(0, len(logits_V), size))
    ids = np.flatnonzero(logits_V >= np.partition(maxima, -count)[-count])
    return ids[np.argsort(-logits_V[ids], kind="stable")[:count]]


def find_share(weights_N: Array, share: float) -> int:
    """Return the first place up to which the weights make up more than this share of their sum. Its weight is not 0.

    It looks for the block first: a running sum over a whole vocabulary takes longer than everything else.
    """
    starts = np.arange(0, len(weights_N), SUM_BLOCK)
    up_to_block = np.add.reduceat(weights_N, starts).cumsum()
    wanted = min(share * up_to_block[-1], np.nextafter(up_to_block[-1], 0))
    block = int(up_to_block.searchsorted(wanted, side="right"))
    inside_N = weights_N[starts[block] :][:SUM_BLOCK]
    before = up_to_block[block - 1] if block else 0.0
    place = int((before + inside_N.cumsum()).searchsorted(wanted, side="right"))
    return int(starts[block]) + min(place, int(np.flatnonzero(inside_N)[-1]))
