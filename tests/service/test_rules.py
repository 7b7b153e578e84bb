"""The checks that need only the request."""

from __future__ import annotations

from typing import Any

import pytest

from overtone.dataset.checks import check_texts, check_tokens
from overtone.dataset.examples import Dataset
from overtone.domain.tuning import Hyperparameters, WantedHyperparameters
from overtone.errors import InvalidArgument
from overtone.service import rules
from tests.doors.gemini.fakes import tiny_card

CARD = tiny_card(max_input_chars=40_000, max_output_chars=5_000)


def dataset(*pairs: tuple[str, str]) -> Dataset:
    return Dataset.of_pairs(pairs)


def check(*pairs: tuple[str, str]) -> None:
    rules.require_sound(check_texts(dataset(*pairs), rules.limits_of(CARD)), CARD)


@pytest.mark.parametrize("tuned_model_id", ["a", "a1", "number-generator", "a" * 40])
def test_a_sound_id_may_be_chosen(tuned_model_id: str) -> None:
    rules.check_tuned_model_id(tuned_model_id)


@pytest.mark.parametrize(
    "tuned_model_id", ["A", "1a", "a-", "-a", "a_b", "a/b", "a.b", "a b", "é", "a" * 41, "a\n"]
)
def test_an_unsound_id_is_refused(tuned_model_id: str) -> None:
    with pytest.raises(InvalidArgument, match=r"id is .* at most 40 characters"):
        rules.check_tuned_model_id(tuned_model_id)


@pytest.mark.parametrize(
    ("display_name", "start"),
    [
        ("number generator model", "number-generator-model-"),
        ("test_number_generator", "testnumbergenerator-"),
        ("Test  Two", "test--two-"),
        ("1st model", "st-model-"),
        ("числа", ""),
        ("", ""),
        ("-", ""),
    ],
)
def test_an_id_is_made_from_the_display_name(display_name: str, start: str) -> None:
    made = rules.generate_tuned_model_id(display_name)
    assert made.startswith(start)
    assert len(made) == len(start) + 12


def test_a_display_name_is_counted_in_characters() -> None:
    rules.check_display_name("ü" * 40)
    with pytest.raises(InvalidArgument, match=r"display_name has 41 characters; the limit is 40"):
        rules.check_display_name("ü" * 41)


@pytest.mark.parametrize(
    ("num_examples", "epochs", "batch", "steps"),
    [(15, 5, 2, 38), (15, 5, 4, 19), (15, 100, 4, 375), (15, 3, 2, 23), (25, 10, 16, 16)],
)
def test_steps_are_counted_as_the_old_service_did(
    num_examples: int, epochs: int, batch: int, steps: int
) -> None:
    assert rules.count_steps(num_examples, Hyperparameters(epochs, batch, 0.001)) == steps


def test_more_steps_than_the_protocol_counts_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="the protocol counts to 2147483647"):
        rules.count_steps(2, Hyperparameters(2**31 - 1, 1, 0.001))


def test_a_step_of_more_examples_than_anybody_waits_for_is_refused() -> None:
    with pytest.raises(
        InvalidArgument, match=r"batch_size is 10000000; .*10000000 examples. The limit is 100000"
    ):
        rules.count_steps(1, Hyperparameters(10**7, 10**7, 0.001))
    assert rules.count_steps(3, Hyperparameters(5, 2**31 - 1, 0.001)) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (5, 4, 0.001)),
        ({"epoch_count": 100, "batch_size": 1}, (100, 1, 0.001)),
        ({"learning_rate": 0.02}, (5, 4, 0.02)),
        ({"learning_rate_multiplier": 0.5}, (5, 4, 0.0005)),
    ],
)
def test_hyperparameters_are_obeyed_or_chosen(
    given: dict[str, Any], expected: tuple[int, int, float]
) -> None:
    chosen = rules.resolve_hyperparameters(WantedHyperparameters(**given), CARD, num_examples=15)
    assert (chosen.epoch_count, chosen.batch_size, chosen.learning_rate) == expected


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"epoch_count": 0}, "epoch_count is 0; it must be at least 1"),
        ({"batch_size": -1}, "batch_size is -1; it must be at least 1"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate_multiplier": float("inf")}, "learning_rate_multiplier is inf"),
    ],
)
def test_hyperparameters_that_cannot_be_are_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        rules.resolve_hyperparameters(WantedHyperparameters(**given), CARD, num_examples=15)


@pytest.mark.parametrize(
    ("pair", "problem"),
    [
        (("x" * 40_001, "y"), r"examples\[1\].text_input has 40001 characters; the limit is 40000"),
        (("x", "y" * 5_001), r"examples\[1\].output has 5001 characters; the limit is 5000"),
        (("x", ""), r"examples\[1\].output is empty"),
    ],
)
def test_a_bad_example_is_named_by_its_index(pair: tuple[str, str], problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        check(("1", "2"), pair)


def test_examples_at_the_limits_are_taken() -> None:
    check(("é" * 40_000, "é" * 5_000), ("", "y"))


def test_no_examples_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="is empty; at least 1 example is needed"):
        check()


def test_an_example_longer_than_the_context_is_named() -> None:
    lengths = iter([1, 64, 65])
    three = dataset(("", "a"), ("", "b"), ("", "c"))
    problems = check_tokens(three, rules.limits_of(CARD), lambda example: next(lengths))
    with pytest.raises(
        InvalidArgument, match=r"examples\[2\] has 65 tokens .* tiny has a context of 64 tokens"
    ):
        rules.require_sound(problems, CARD)


def test_the_same_request_has_the_same_seed_and_another_another() -> None:
    examples = dataset(("1", "2"))
    chosen = Hyperparameters(5, 4, 0.001)
    seed = rules.derive_seed(examples, chosen)
    assert seed == rules.derive_seed(dataset(("1", "2")), Hyperparameters(5, 4, 0.001))
    assert seed != rules.derive_seed(dataset(("1", "3")), chosen)
    assert seed != rules.derive_seed(examples, Hyperparameters(6, 4, 0.001))
    assert 0 <= seed < 2**31
