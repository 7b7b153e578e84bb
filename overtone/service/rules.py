"""Checks that need nothing but the request: pure functions whose errors name field, value and limit.

What a limit is comes from the base model's card; the aliases of the hosted service carry the documented ones.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import string
from collections.abc import Callable, Iterator

from overtone.bases.registry import Card
from overtone.dataset import steps
from overtone.dataset.checks import ExampleLimits
from overtone.dataset.examples import Dataset, Problem
from overtone.domain.tuning import GenerationDefaults, Hyperparameters, WantedHyperparameters
from overtone.errors import InvalidArgument, base_model, refuse, shown

MAX_DISPLAY_NAME_CHARS = 40
MAX_TUNED_MODEL_ID_CHARS = 40
MAX_INT32 = 2**31 - 1
MAX_STEP_EXAMPLES = 100_000  # of one optimiser step: minutes, with short ones
TUNED_MODEL_ID = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
ID_LETTERS = string.ascii_lowercase + string.digits
RANDOM_ID_CHARS = 12


def check_tuned_model_id(tuned_model_id: str) -> None:
    """Raise unless a client may choose this id."""
    if not TUNED_MODEL_ID.fullmatch(tuned_model_id):
        raise refuse(
            "id",
            f"is {shown(tuned_model_id)!r}; it must have at most {MAX_TUNED_MODEL_ID_CHARS} characters, "
            "only a-z, 0-9 and hyphens, begin with a letter and not end with a hyphen.",
        )


def generate_tuned_model_id(display_name: str, letters: Callable[[str], str] = secrets.choice) -> str:
    """Return an id made from the display name and random letters.

    `Number generator 1` gives `number-generator-1-dzlmi0gswwqb`; a name with no letter of a-z is left out.
    """
    words = re.sub(r"[^a-z0-9-]", "", re.sub(r"\s", "-", display_name.lower())).strip("-")
    words = re.sub(r"^[0-9-]+", "", words)
    ending = letters(string.ascii_lowercase) + "".join(
        letters(ID_LETTERS) for _ in range(RANDOM_ID_CHARS - 1)
    )
    return f"{words}-{ending}" if words else ending


def check_display_name(display_name: str) -> None:
    if len(display_name) > MAX_DISPLAY_NAME_CHARS:
        raise refuse(
            "display_name",
            f"has {len(display_name)} characters; the limit is {MAX_DISPLAY_NAME_CHARS}.",
        )


def check_generation_defaults(given: GenerationDefaults) -> None:
    """Raise if a given temperature, top_p or top_k is out of range. Absent values are fine."""
    for name, value in (("temperature", given.temperature), ("top_p", given.top_p)):
        if value is not None:
            check_range(f"defaults.{name}", value, 0, 1)
    if given.top_k is not None and given.top_k < 1:
        raise refuse("defaults.top_k", f"is {given.top_k}; it must be at least 1.")


def check_range(field: str, value: float, low: float, high: float) -> None:
    """Raise unless low <= value <= high; not a number is outside of every range."""
    if not low <= value <= high:
        raise refuse(field, f"is {value:g}; it must lie between {low:g} and {high:g}.")


def resolve_hyperparameters(given: WantedHyperparameters, card: Card, num_examples: int) -> Hyperparameters:
    """Return the hyperparameters to tune with: the given ones to the letter, else the card's defaults."""
    default = card.hyperparameters(num_examples)
    for name in ("epoch_count", "batch_size"):
        value = getattr(given, name)
        if value is not None and value < 1:
            raise refuse(f"hyperparameters.{name}", f"is {value}; it must be at least 1.")
    for name in ("learning_rate", "learning_rate_multiplier"):
        value = getattr(given, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise refuse(f"hyperparameters.{name}", f"is {value:g}; it must be a number above 0.")
    learning_rate = default.learning_rate if given.learning_rate is None else given.learning_rate
    if given.learning_rate_multiplier is not None:
        learning_rate *= given.learning_rate_multiplier
    return Hyperparameters(
        default.epoch_count if given.epoch_count is None else given.epoch_count,
        default.batch_size if given.batch_size is None else given.batch_size,
        learning_rate,
    )


def count_steps(num_examples: int, chosen: Hyperparameters) -> int:
    """Return how many optimiser steps a job takes: batches run across the borders of epochs."""
    in_all = num_examples * chosen.epoch_count
    if min(chosen.batch_size, in_all) > MAX_STEP_EXAMPLES:
        raise refuse(
            "hyperparameters.batch_size",
            f"is {chosen.batch_size}; with {num_examples} examples and {chosen.epoch_count} epochs a step would take "
            f"{min(chosen.batch_size, in_all)} examples. The limit is {MAX_STEP_EXAMPLES}.",
        )
    total_steps = steps.count_steps(num_examples, chosen.epoch_count, chosen.batch_size)
    if total_steps > MAX_INT32:
        raise refuse(
            "hyperparameters",
            f"ask for {total_steps} steps ({num_examples} examples, {chosen.epoch_count} epochs, batches of "
            f"{chosen.batch_size}); the protocol counts to {MAX_INT32}.",
        )
    return total_steps


def derive_seed(dataset: Dataset, chosen: Hyperparameters) -> int:
    """Return the seed of a job, for the order of its data and its first weights.

    It comes from the request: who asks for the same tuning twice gets the same model, and another set of
    examples another seed.
    """
    examples = [
        (example.text_input, example.output) if example.is_pair else example.turns
        for example in dataset.examples
    ]
    request = repr([*examples, chosen])
    return int.from_bytes(hashlib.sha256(request.encode("utf-8", "surrogatepass")).digest()[:4]) >> 1


class NoExamples(InvalidArgument):
    """A tuning was asked for without training data."""

    def __init__(self) -> None:
        super().__init__("{field} is missing: there is nothing to learn from.", field="dataset")


def require_sound(problems: Iterator[Problem], card: Card) -> None:
    """Raise InvalidArgument for the first problem of a dataset, if there is one."""
    for problem in problems:
        field = "examples" if problem.row is None else f"examples[{problem.row}]"
        where = f"{field}.{problem.field}" if problem.field else field
        raise refuse(where, problem.text, base=base_model(card.base_id))


def limits_of(card: Card) -> ExampleLimits:
    """Return what an example may hold on a base; a sentence about it leaves the name of the base to the door."""
    return ExampleLimits("{base}", card.context_length, card.max_input_chars, card.max_output_chars)
