"""Choosing a token from a row of logits."""

import math
from collections import Counter

import pytest
import torch

from overtone.engine.sampling import ChosenToken, Logits, Sampler

ROW = torch.tensor([0.0, 3.0, 1.0, 2.0, -1.0])


def choose(sampler: Sampler, row: torch.Tensor = ROW, allowed: torch.Tensor | None = None) -> ChosenToken:
    return sampler.choose(Logits.of(row[None]), 0, allowed)


def drawn(sampler: Sampler, row: torch.Tensor = ROW, times: int = 400) -> Counter[int]:
    return Counter(choose(sampler, row).token_id for _ in range(times))


def test_temperature_zero_is_the_likeliest_token() -> None:
    assert drawn(Sampler(), times=3) == {1: 3}


def test_draws_follow_the_probabilities() -> None:
    counts = drawn(Sampler(temperature=1.0, seed=1), times=4000)
    for token, probability in enumerate(ROW.softmax(0).tolist()):
        assert counts[token] / 4000 == pytest.approx(probability, abs=0.03)


def test_a_seed_repeats_its_draws() -> None:
    one, two, other = (Sampler(temperature=1.5, seed=seed) for seed in (5, 5, 6))
    texts = [[choose(s).token_id for _ in range(50)] for s in (one, two, other)]
    assert texts[0] == texts[1] != texts[2]


def test_top_k_draws_among_the_likeliest_k() -> None:
    assert set(drawn(Sampler(temperature=5.0, top_k=2, seed=0))) == {1, 3}


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    assert set(drawn(Sampler(temperature=1.0, top_p=0.8, seed=0))) == {1, 3}
    assert set(drawn(Sampler(temperature=1.0, top_p=0.01, seed=0))) == {1}


def test_top_p_looks_beyond_the_first_guess_in_a_flat_row() -> None:
    assert max(drawn(Sampler(temperature=1.0, top_p=0.99, seed=0), torch.zeros(4000))) > 256


def test_an_early_end_is_not_chosen() -> None:
    sampler = Sampler(min_tokens=2, eos_ids=frozenset({1}))
    assert [choose(sampler).token_id for _ in range(3)] == [3, 3, 1]


def test_penalties_lower_what_was_said_already() -> None:
    sampler = Sampler(presence_penalty=0.5, frequency_penalty=0.8)
    assert [choose(sampler).token_id for _ in range(4)] == [1, 3, 1, 2]


def test_log_probabilities_are_those_of_the_model() -> None:
    chosen = choose(Sampler(temperature=0.1, top_k=1, num_logprobs=2))
    expected = ROW.log_softmax(0)
    assert chosen.logprob == pytest.approx(float(expected[1]), abs=1e-6)
    assert [token for token, _ in chosen.top] == [1, 3]


def test_only_allowed_tokens_are_chosen() -> None:
    allowed = torch.tensor([True, False, True, False, True])
    assert choose(Sampler(), allowed=allowed).token_id == 2
    assert math.isfinite(choose(Sampler(), allowed=allowed).logprob)
