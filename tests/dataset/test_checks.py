"""All that is wrong with a dataset, with row and field."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from overtone.dataset.checks import (
    ExampleLimits,
    check_pairs,
    check_roles,
    check_surrogates,
    check_texts,
    check_tokens,
    check_turns,
)
from overtone.dataset.examples import Dataset, Example, Problem, ProblemKind, Role, Turn
from overtone.errors import InvalidArgument

LIMITS = ExampleLimits("models/tiny", context_length=64, max_input_chars=40, max_output_chars=5)
GREETING = (Turn("system", "Be short."), Turn("user", "Hi"), Turn("assistant", "Hi."), Turn("user", "Why?"))


def check(
    dataset: Dataset, limits: ExampleLimits, count_tokens: Callable[[Example], int] | None = None
) -> list[Problem]:
    """Return the problems of the texts, and those of the lengths in tokens if they can be counted."""
    problems = list(check_texts(dataset, limits))
    if count_tokens is not None:
        problems += check_tokens(dataset, limits, count_tokens)
    return problems


def conversation(*turns: Turn) -> Dataset:
    return Dataset((Example(turns),))


def told(problems: list[Problem]) -> list[tuple[int | None, str, str]]:
    return [(problem.row, problem.field, problem.text) for problem in problems]


def spoken(roles: str) -> Dataset:
    """Return a conversation by the first letters of who speaks."""
    names: dict[str, Role] = {"u": "user", "a": "assistant", "s": "system"}
    return conversation(*(Turn(names[letter], letter) for letter in roles))


def length(example: Example) -> int:
    return sum(len(turn.text) for turn in example.turns)


def test_sound_examples_have_no_problems() -> None:
    pairs = Dataset.of_pairs([("é" * 40, "é" * 5), ("", "y")])
    chat = conversation(*GREETING, Turn("assistant", "Well."))
    assert check(Dataset(pairs.examples + chat.examples), LIMITS, length) == []


def test_no_examples_are_a_problem_of_the_whole() -> None:
    assert check(Dataset(()), LIMITS) == [
        Problem(None, "", "is empty; at least 1 example is needed.", ProblemKind.EMPTY)
    ]


@pytest.mark.parametrize(
    ("pair", "field", "text"),
    [
        (("x" * 41, "y"), "text_input", "has 41 characters; the limit is 40."),
        (("x", "y" * 6), "output", "has 6 characters; the limit is 5."),
        (("x", ""), "output", "is empty; there would be nothing to learn."),
    ],
)
def test_a_problem_has_row_and_field(pair: tuple[str, str], field: str, text: str) -> None:
    assert told(check(Dataset.of_pairs([("1", "2"), pair]), LIMITS)) == [(1, field, text)]


def test_without_limits_any_length_is_sound() -> None:
    limits = ExampleLimits("models/tiny", context_length=64)
    assert check(Dataset.of_pairs([("x" * 10_000, "y" * 10_000)]), limits) == []


def test_all_problems_are_told_texts_first_then_tokens() -> None:
    pairs = [("x" * 41, ""), ("x" * 30, "y" * 40), ("1", "2"), ("x" * 41, "y" * 6)]
    problems = check(Dataset.of_pairs(pairs), LIMITS, length)
    assert [(problem.row, problem.field) for problem in problems] == [
        (0, "output"),
        (0, "text_input"),
        (1, "output"),
        (3, "text_input"),
        (3, "output"),
        (1, ""),
    ]
    assert problems[-1].text == "has 70 tokens with its output; models/tiny has a context of 64 tokens."


def test_a_conversation_s_turns_are_named_by_their_place() -> None:
    broken = (*GREETING[:2], Turn("assistant", ""), Turn("user", "x" * 41), Turn("assistant", "Too long"))
    assert told(check(conversation(*broken), LIMITS)) == [
        (0, "turns[2]", "is empty; there would be nothing to learn."),
        (0, "turns[3]", "has 41 characters; the limit is 40."),
        (0, "turns[4]", "has 8 characters; the limit is 5."),
    ]


def test_what_a_template_refuses_is_a_problem_of_its_row() -> None:
    def count(example: Example) -> int:
        if "system" in example.roles:
            raise InvalidArgument("No system role.")
        return 65

    examples = (Example(GREETING), Example.pair("1", "2"))
    assert [
        (problem.row, problem.text[:40]) for problem in check_tokens(Dataset(examples), LIMITS, count)
    ] == [
        (0, "cannot be rendered: No system role."),
        (1, "has 65 tokens with its output; models/ti"),
    ]


def test_who_wants_the_first_problem_computes_no_more() -> None:
    counted = []

    def count(example: Example) -> int:
        counted.append(example.text_input)
        return 65

    dataset = Dataset.of_pairs([("a", ""), ("b", "")])
    assert next(check_texts(dataset, LIMITS)).row == 0
    assert next(check_tokens(dataset, LIMITS, count)).row == 0
    assert counted == ["a"]


@pytest.mark.parametrize(
    ("roles", "fault"),
    [
        ("ua", ""),
        ("sua", ""),
        ("uaua", ""),
        ("suaua", ""),
        ("", "has no answer"),
        ("u", "has no answer"),
        ("su", "has no answer"),
        ("au", "begins with an answer"),
        ("sa", "begins with an answer"),
        ("uau", "ends with a question"),
        ("uua", "has two user turns in a row, turns[0] and turns[1]"),
        ("suaa", "has two assistant turns in a row, turns[2] and turns[3]"),
        ("usa", "has a system turn at turns[1]"),
        ("ssua", "has a system turn at turns[1]"),
    ],
)
def test_turns_that_cannot_follow_one_another_are_told(roles: str, fault: str) -> None:
    problems = list(check_turns(spoken(roles)))
    assert [problem.kind for problem in problems] == [ProblemKind.TURN_ORDER] * bool(fault)
    assert all(problem.text.startswith(fault) for problem in problems)


def test_a_conversation_cannot_be_sent_and_a_system_turn_can_be_folded() -> None:
    assert list(check_pairs(spoken("ua"))) == []
    (folded,) = check_pairs(spoken("sua"))
    assert (folded.kind, "put before the question" in folded.fix) == (ProblemKind.CONVERSATION, True)
    (long,) = check_pairs(spoken("suaua"))
    assert (long.text[:31], long.fix) == ("is a conversation of 5 turns; a", "")
    assert list(check_pairs(spoken("uu"))) == [], "what is no conversation is told as that alone"


def test_a_role_that_the_template_does_not_write_is_named() -> None:
    known = frozenset(("user", "assistant"))
    (problem,) = check_roles(Dataset((Example(GREETING), Example.pair("1", "2"))), "models/tiny", known)
    assert (problem.row, problem.field, problem.kind) == (0, "turns[0]", ProblemKind.ROLE)
    assert problem.text == "is a system turn, which the template of models/tiny does not know."


def test_half_of_a_surrogate_pair_is_told_with_its_place() -> None:
    (problem,) = check_surrogates(Dataset.of_pairs([("é\U0001f600", "x"), ("1", "hi \ud83d")]))
    assert (problem.row, problem.field, problem.severity) == (1, "output", "error")
    assert "character 3" in problem.text
