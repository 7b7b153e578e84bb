"""All that is wrong with a dataset, with row and field."""

from __future__ import annotations

import pytest

from overtone.dataset.checks import Limits, check, check_texts, check_tokens
from overtone.dataset.examples import Dataset, Example, Problem, Turn
from overtone.errors import InvalidArgument

LIMITS = Limits("models/tiny", context_length=64, max_input_chars=40, max_output_chars=5)
GREETING = (Turn("system", "Be short."), Turn("user", "Hi"), Turn("assistant", "Hi."), Turn("user", "Why?"))


def conversation(*turns: Turn) -> Dataset:
    return Dataset((Example(turns),))


def length(example: Example) -> int:
    return sum(len(turn.text) for turn in example.turns)


def test_sound_examples_have_no_problems() -> None:
    pairs = Dataset.of_pairs([("é" * 40, "é" * 5), ("", "y")])
    chat = conversation(*GREETING, Turn("assistant", "Well."))
    assert check(Dataset(pairs.examples + chat.examples), LIMITS, length) == []


def test_no_examples_are_a_problem_of_the_whole() -> None:
    assert check(Dataset(()), LIMITS) == [Problem(None, "", "is empty; at least 1 example is needed.")]


@pytest.mark.parametrize(
    ("pair", "field", "text"),
    [
        (("x" * 41, "y"), "text_input", "has 41 characters; the limit is 40."),
        (("x", "y" * 6), "output", "has 6 characters; the limit is 5."),
        (("x", ""), "output", "is empty; there would be nothing to learn."),
    ],
)
def test_a_problem_has_row_and_field(pair: tuple[str, str], field: str, text: str) -> None:
    assert check(Dataset.of_pairs([("1", "2"), pair]), LIMITS) == [Problem(1, field, text)]


def test_without_limits_any_length_is_sound() -> None:
    limits = Limits("models/tiny", context_length=64)
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
    assert check(conversation(*broken), LIMITS) == [
        Problem(0, "turns[2]", "is empty; there would be nothing to learn."),
        Problem(0, "turns[3]", "has 41 characters; the limit is 40."),
        Problem(0, "turns[4]", "has 8 characters; the limit is 5."),
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
