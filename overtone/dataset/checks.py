"""What is wrong with a dataset: pure checks that find all problems, each with its row and field.

Their order is fixed: first the texts, row by row, then the lengths in tokens, row by row. Who wants only the first
problem takes it from an iterator, and nothing behind it is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from overtone.dataset.examples import Dataset, Example, Problem
from overtone.errors import InvalidArgument


@dataclass(frozen=True)
class Limits:
    """What an example may hold on a base. None: any number of characters."""

    base: str  # whose context it is, as a sentence names it
    context_length: int  # tokens of a whole example
    max_input_chars: int | None = None  # of each turn that is not an answer
    max_output_chars: int | None = None  # of each answer


def check(
    dataset: Dataset, limits: Limits, count_tokens: Callable[[Example], int] | None = None
) -> list[Problem]:
    """Return everything that is wrong with a dataset; its lengths in tokens only if they can be counted."""
    problems = list(check_texts(dataset, limits))
    if count_tokens is not None:
        problems += check_tokens(dataset, limits, count_tokens)
    return problems


def check_texts(dataset: Dataset, limits: Limits) -> Iterator[Problem]:
    """Yield what is wrong with a dataset by its texts alone."""
    if not dataset.examples:
        yield Problem(None, "", "is empty; at least 1 example is needed.")
    for row, example in enumerate(dataset.examples):
        yield from _empty_answers(row, example)
        yield from _long_texts(row, example, limits)


def check_tokens(
    dataset: Dataset, limits: Limits, count_tokens: Callable[[Example], int]
) -> Iterator[Problem]:
    """Yield the examples that are longer than the base's context, and those that its template refuses."""
    for row, example in enumerate(dataset.examples):
        try:
            num_tokens = count_tokens(example)
        except InvalidArgument as error:
            yield Problem(row, "", f"cannot be rendered: {error}")
            continue
        if num_tokens > limits.context_length:
            yield Problem(
                row,
                "",
                f"has {num_tokens} tokens with its output; {limits.base} has a context of "
                f"{limits.context_length} tokens.",
            )


def _empty_answers(row: int, example: Example) -> Iterator[Problem]:
    for index, turn in enumerate(example.turns):
        if turn.role == "assistant" and not turn.text:
            yield Problem(row, _field(example, index), "is empty; there would be nothing to learn.")


def _long_texts(row: int, example: Example, limits: Limits) -> Iterator[Problem]:
    for index, turn in enumerate(example.turns):
        limit = limits.max_output_chars if turn.role == "assistant" else limits.max_input_chars
        length = len(turn.text)
        if limit is not None and length > limit:
            yield Problem(row, _field(example, index), f"has {length} characters; the limit is {limit}.")


def _field(example: Example, index: int) -> str:
    """Return what a turn is called: a pair's have names of their own."""
    return ("text_input", "output")[index] if example.is_pair else f"turns[{index}]"
