"""What may be a mistake in examples."""

from __future__ import annotations

from collections.abc import Iterable

from overtone.dataset import suspicions
from overtone.dataset.examples import Dataset, Example, Problem, ProblemKind, Turn

PLACES = [f"line {number}" for number in range(1, 100)]
SORTED = [(f"message {n}", ("shipping", "billing")[n % 2]) for n in range(10)]


def told(problems: Iterable[Problem]) -> list[tuple[int | None, str]]:
    found = list(problems)
    assert all(problem.severity == "warning" for problem in found)
    return [(problem.row, f"{problem.field} {problem.text}".strip()) for problem in found]


def test_an_example_that_repeats_an_earlier_one_is_told() -> None:
    dataset = Dataset.of_pairs([("a", "1"), ("a", "1"), ("b", "1"), ("a", "1")])
    assert told(suspicions.check_doubles(dataset, PLACES)) == [
        (1, "is the same as line 1."),
        (3, "is the same as line 1."),
    ]


def test_another_answer_to_the_same_question_is_told() -> None:
    dataset = Dataset.of_pairs([("a", "1"), ("b", "1"), ("a", "2"), ("a", "1")])
    assert told(suspicions.check_contradictions(dataset, PLACES)) == [
        (2, "output is '2'; line 1 answers the same question with '1'.")
    ]


def test_the_same_question_after_another_beginning_is_no_contradiction() -> None:
    def conversation(opening: str, answer: str) -> Example:
        opened = (Turn("user", opening), Turn("assistant", "Yes?"))
        return Example((*opened, *Example.pair("And now?", answer).turns))

    apart = Dataset((conversation("a", "1"), conversation("b", "2")))
    same = Dataset((conversation("a", "1"), conversation("a", "2")))
    assert told(suspicions.check_contradictions(apart, PLACES)) == []
    assert told(suspicions.check_contradictions(same, PLACES)) == [
        (1, "turns[3] is '2'; line 1 answers the same question with '1'.")
    ]


def test_what_is_held_out_must_not_be_trained() -> None:
    dataset = Dataset.of_pairs([("a", "1"), ("b", "2")])
    held_out = Dataset.of_pairs([("x", "1"), ("b", "other")])
    assert told(suspicions.check_held_out(dataset, held_out, PLACES)) == [
        (1, "text_input is in the held-out set too, at line 2.")
    ]


def test_blank_texts_are_told_and_an_empty_answer_is_not_theirs() -> None:
    dataset = Dataset.of_pairs([("", "1"), (" \n", "1"), ("a", " "), ("a", "")])
    problems = list(suspicions.check_blanks(dataset))
    assert told(problems) == [
        (0, "text_input is empty."),
        (1, "text_input holds white space alone."),
        (2, "output holds white space alone."),
    ]
    assert [bool(problem.fix) for problem in problems] == [False, False, True]


def test_a_classification_is_known_by_its_few_short_outputs() -> None:
    labels = suspicions.find_labels(Dataset.of_pairs([*SORTED, ("odd", "shiping")]))
    assert labels == {"shipping": 5, "billing": 5}
    assert suspicions.find_labels(Dataset.of_pairs(SORTED[:7])) == {}, "too few rows to tell"
    assert suspicions.find_labels(Dataset.of_pairs([(text, text) for text, _ in SORTED])) == {}


def test_a_row_that_asks_a_label_is_probably_swapped() -> None:
    (problem,) = suspicions.check_swapped(
        Dataset.of_pairs([*SORTED, ("billing", "Why was I charged twice?")])
    )
    assert (problem.row, problem.kind) == (10, ProblemKind.SWAPPED)
    assert problem.text == "is 'billing', which is the output of 5 other rows."


def test_a_dataset_that_asks_labels_is_probably_swapped_as_a_whole() -> None:
    (problem,) = suspicions.check_swapped(Dataset.of_pairs([(label, text) for text, label in SORTED]))
    assert (problem.row, problem.text[:26]) == (None, "asks only 2 different inpu")
    questions = [(f"It is {n}.", f"What is {n}?") for n in range(10)]
    (problem,) = suspicions.check_swapped(Dataset.of_pairs(questions))
    assert "questions as 10 of 10 outputs" in problem.text
    assert list(suspicions.check_swapped(Dataset.of_pairs(SORTED))) == []
    assert list(suspicions.check_swapped(Dataset.of_pairs([(b, a) for a, b in questions]))) == []


def test_a_text_in_a_wrong_encoding_is_quoted_as_it_was() -> None:
    dataset = Dataset.of_pairs([("ok", "Das cafÃ© ist zu"), ("lost \ufffd", "x")])
    repaired, lost = suspicions.check_mojibake(dataset)
    assert told([repaired]) == [(0, "output was once read in a wrong encoding: 'cafÃ©' was probably 'café'.")]
    assert told([lost]) == [(1, "text_input has lost characters: 1 times U+FFFD stands for one.")]
    assert (bool(repaired.fix), bool(lost.fix)) == (True, False)


def test_control_tokens_in_a_text_are_named() -> None:
    dataset = Dataset.of_pairs(
        [("a <think>", "<think>b"), ("a", "b<|im_end|>"), ("a<|im_end|>", "b <|im_end|> c"), ("<", "|")]
    )
    asked = ["<think>", "<|im_end|>"]
    problems = list(suspicions.check_control_tokens(dataset, asked, ["<|im_end|>"]))
    assert [(each.row, each.field, bool(each.fix)) for each in problems] == [
        (0, "text_input", False),
        (1, "output", True),
        (2, "text_input", False),
        (2, "output", False),
    ]
    assert list(suspicions.check_control_tokens(dataset, [], [])) == []


def test_control_tokens_are_taken_from_the_end_alone() -> None:
    assert suspicions.without_end("<s> a <s> </s>\n<s>", ["<s>", "</s>"]) == "<s> a "
    assert suspicions.without_end("a \n", ["<s>"]) == "a \n"
