"""Choosing a token from a row of logits."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from overtone.engine.sampling import Array, ChosenToken, Logits, Sampler, find_share, likeliest

ROW = np.array([0.0, 3.0, 1.0, 2.0, -1.0], np.float32)


def logits_of(row: Array) -> Logits:
    tensor = torch.from_numpy(row)
    return Logits(row[None], [int(tensor.argmax())], [float(tensor.logsumexp(0))])


def choose(sampler: Sampler, row: Array = ROW, allowed: Array | None = None) -> ChosenToken:
    return sampler.choose(logits_of(row), 0, allowed)


def drawn(sampler: Sampler, row: Array = ROW, times: int = 400) -> Counter[int]:
    return Counter(choose(sampler, row).token_id for _ in range(times))


def test_temperature_zero_is_the_likeliest_token() -> None:
    assert drawn(Sampler(), times=3) == {1: 3}


def test_draws_follow_the_probabilities() -> None:
    counts = drawn(Sampler(temperature=1.0, seed=1), times=4000)
    for token, probability in enumerate(torch.from_numpy(ROW).softmax(0).tolist()):
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
    assert max(drawn(Sampler(temperature=1.0, top_p=0.99, seed=0), np.zeros(4000, np.float32))) > 256


def test_an_early_end_is_not_chosen() -> None:
    sampler = Sampler(min_tokens=2, eos_ids=frozenset({1}))
    assert [choose(sampler).token_id for _ in range(3)] == [3, 3, 1]


def test_penalties_lower_what_was_said_already() -> None:
    sampler = Sampler(presence_penalty=0.5, frequency_penalty=0.8)
    assert [choose(sampler).token_id for _ in range(4)] == [1, 3, 1, 2]


def test_log_probabilities_are_those_of_the_model() -> None:
    chosen = choose(Sampler(temperature=0.1, top_k=1, num_logprobs=2))
    expected = torch.from_numpy(ROW).log_softmax(0)
    assert chosen.logprob == pytest.approx(float(expected[1]), abs=1e-6)
    assert [token for token, _ in chosen.top] == [1, 3]


def test_only_allowed_tokens_are_chosen() -> None:
    allowed = np.array([True, False, True, False, True])
    assert choose(Sampler(), allowed=allowed).token_id == 2
    assert math.isfinite(choose(Sampler(), allowed=allowed).logprob)


@pytest.mark.parametrize("count", [1, 64, 1000, 40_000])
def test_the_likeliest_come_first_and_equal_ones_in_order(count: int) -> None:
    row = np.random.default_rng(count).integers(-300, 300, 50_000).astype(np.float32)
    row[:2000] = -np.inf
    assert np.array_equal(likeliest(row, count), np.argsort(-row, kind="stable")[:count])


def test_a_draw_is_found_as_in_one_running_sum() -> None:
    weights = np.random.default_rng(0).random(5000) ** 8
    weights[weights < 0.01] = 0
    for share in np.linspace(0, 1, 500, endpoint=False):
        place = find_share(weights, share)
        assert weights[: place + 1].sum() > share * weights.sum() * (1 - 1e-12)
        assert weights[:place].sum() <= share * weights.sum() * (1 + 1e-12)


def test_a_draw_never_falls_on_an_impossible_token() -> None:
    weights = np.zeros(5000)
    weights[[700, 900]] = 0.1, 0.2
    assert {find_share(weights, share) for share in (0.0, 0.3, 0.5, 1 - 2**-53)} == {700, 900}


OPTIONS = [{}, {"top_k": 64, "top_p": 0.95}, {"top_k": 40}, {"top_p": 0.9}, {"top_p": 0.9999}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_draws_are_those_of_the_plain_formula(options: dict[str, float]) -> None:
    """Sort all tokens, cut the sorted list, draw from its running sum."""
    rows = np.random.default_rng(1).standard_normal((20, 3000)).astype(np.float32) * 3
    for seed, row in enumerate(rows):
        sampler = Sampler(temperature=0.8, seed=seed, **options)  # type: ignore[arg-type]
        assert choose(sampler, row).token_id == plain_draw(row, 0.8, seed, **options)


def plain_draw(row: Array, temperature: float, seed: int, top_k: float = 0, top_p: float = 1.0) -> int:
    scores, ids = (torch.from_numpy(row).double() / temperature).sort(descending=True)
    if not top_k and top_p == 1:
        scores, ids = torch.from_numpy(row).double() / temperature, torch.arange(len(row))
    weights = scores[: int(top_k) or None].softmax(0)
    if top_p < 1:
        weights = weights[weights.cumsum(0) - weights < top_p]
    share = np.random.default_rng(seed).random() * weights.sum()
    return int(ids[int((weights.cumsum(0) <= share).sum())])
