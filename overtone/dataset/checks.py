"""What is wrong with a dataset, so that a tuning is refused: pure checks that find all problems, by row and field.

Their order is fixed: first the texts, row by row, then the lengths in tokens, row by row. Who wants only the first
problem takes it from an iterator, and nothing behind it is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from overtone.dataset.examples import Dataset, Example, Problem, ProblemKind
from overtone.errors import InvalidArgument

FOLD = "The system text is put before the question, with an empty line between. Ask the tuned model in the same way."


@dataclass(frozen=True)
class ExampleLimits:
    """What an example may hold on a base. None: any number of characters."""

    base: str  # whose context it is, as a sentence names it
    context_length: int  # tokens of a whole example
    max_input_chars: int | None = None  # of each turn that is not an answer
    max_output_chars: int | None = None  # of each answer


def check_texts(dataset: Dataset, limits: ExampleLimits) -> Iterator[Problem]:
    """Yield what is wrong with a dataset by its texts alone."""
    if not dataset.examples:
        yield Problem(None, "", "is empty; at least 1 example is needed.", ProblemKind.EMPTY)
    for row, example in enumerate(dataset.examples):
        yield from _empty_answers(row, example)
        yield from _long_texts(row, example, limits)


def check_tokens(
    dataset: Dataset, limits: ExampleLimits, count_tokens: Callable[[Example], int]
) -> Iterator[Problem]:
    """Yield the examples that are longer than the base's context, and those that its template refuses."""
    for row, example in enumerate(dataset.examples):
        try:
            num_tokens = count_tokens(example)
        except InvalidArgument as error:
            yield Problem(row, "", f"cannot be rendered: {error}", ProblemKind.ROLE)
            continue
        if num_tokens > limits.context_length:
            yield Problem(
                row,
                "",
                f"has {num_tokens} tokens with its output; {limits.base} has a context of "
                f"{limits.context_length} tokens.",
                ProblemKind.TOO_LONG,
            )


def check_turns(dataset: Dataset) -> Iterator[Problem]:
    """Yield the conversations that cannot be: an answer without a question, a question without an answer."""
    for row, example in enumerate(dataset.examples):
        if not example.is_pair:
            fault = _turn_fault(example)
            if fault:
                yield Problem(row, "", fault, ProblemKind.TURN_ORDER)


def check_roles(dataset: Dataset, base: str, roles: frozenset[str]) -> Iterator[Problem]:
    """Yield the conversations with a role that the base's template does not write."""
    for row, example in enumerate(dataset.examples):
        if example.is_pair:
            continue
        unknown = next((role for role in example.roles if role not in roles), None)
        if unknown is not None:
            field = example.field(example.roles.index(unknown))
            fix = FOLD if has_foldable_system(example) else ""
            yield Problem(
                row,
                field,
                f"is a {unknown} turn, which the template of {base} does not know.",
                ProblemKind.ROLE,
                fix,
            )


def check_pairs(dataset: Dataset) -> Iterator[Problem]:
    """Yield the conversations that are no pair of one question and its answer: the API takes nothing else so far."""
    for row, example in enumerate(dataset.examples):
        if example.is_pair or _turn_fault(example):
            continue
        if has_foldable_system(example):
            yield Problem(
                row,
                "",
                "has a system turn; a tuning takes pairs of one question and one answer.",
                ProblemKind.CONVERSATION,
                FOLD,
            )
        else:
            yield Problem(
                row,
                "",
                f"is a conversation of {len(example.turns)} turns; a tuning takes pairs of one question and one "
                "answer. Split it into pairs.",
                ProblemKind.CONVERSATION,
            )


def check_surrogates(dataset: Dataset) -> Iterator[Problem]:
    """Yield the texts that hold half of a surrogate pair: JSON can spell it, and no other text can hold it."""
    for row, example in enumerate(dataset.examples):
        for index, turn in enumerate(example.turns):
            if turn.text.isascii():
                continue
            try:
                turn.text.encode()
            except UnicodeEncodeError as error:
                yield Problem(
                    row,
                    example.field(index),
                    f"holds half of a surrogate pair (character {error.start}), which is no text.",
                    ProblemKind.SURROGATE,
                    "It becomes U+FFFD.",
                )


def has_foldable_system(example: Example) -> bool:
    """Whether it is a pair but for a system turn before it."""
    return example.roles == ("system", "user", "assistant")


def _turn_fault(example: Example) -> str:
    """Return why the turns of a conversation cannot follow one another, "" if they can."""
    roles = example.roles[1:] if example.roles[:1] == ("system",) else example.roles
    if "assistant" not in roles:
        return "has no answer; there would be nothing to learn."
    if "system" in roles:
        return f"has a system turn at turns[{example.roles.index('system', 1)}]; it can only be the first."
    if roles[0] == "assistant":
        return "begins with an answer; a question must come before it."
    if roles[-1] != "assistant":
        return "ends with a question; the last turn must be an answer."
    twice = next((place for place in range(1, len(roles)) if roles[place] == roles[place - 1]), None)
    if twice is None:
        return ""
    first = twice - 1 + len(example.roles) - len(roles)
    return f"has two {roles[twice]} turns in a row, turns[{first}] and turns[{first + 1}]."


def _empty_answers(row: int, example: Example) -> Iterator[Problem]:
    for index, turn in enumerate(example.turns):
        if turn.role == "assistant" and not turn.text:
            text = "is empty; there would be nothing to learn."
            yield Problem(row, example.field(index), text, ProblemKind.EMPTY, "The row is left out.")


def _long_texts(row: int, example: Example, limits: ExampleLimits) -> Iterator[Problem]:
    for index, turn in enumerate(example.turns):
        limit = limits.max_output_chars if turn.role == "assistant" else limits.max_input_chars
        length = len(turn.text)
        if limit is not None and length > limit:
            text = f"has {length} characters; the limit is {limit}."
            yield Problem(row, example.field(index), text, ProblemKind.TOO_LONG)
