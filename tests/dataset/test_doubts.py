"""What may be a mistake in examples."""

from __future__ import annotations

from overtone.dataset.doubts import describe_doubts
from overtone.dataset.examples import Dataset, Example, Turn


def test_what_may_be_a_mistake_is_told() -> None:
    pairs = [("a", "1"), ("a", "1"), ("b", "1"), ("b", "2"), (" ", "3")]
    assert describe_doubts(Dataset.of_pairs(pairs)) == [
        "Examples that repeat an earlier one: 1 of 5.",
        "Inputs with more than one output: 1, such as 'b'.",
        "Empty inputs: 1.",
    ]
    assert describe_doubts(Dataset.of_pairs(pairs[:1])) == []


def test_the_same_question_after_another_beginning_is_no_contradiction() -> None:
    """Two conversations may end with the same question and differ in the answer."""

    def conversation(opening: str, answer: str) -> Example:
        opened = (Turn("user", opening), Turn("assistant", "Yes?"))
        return Example((*opened, *Example.pair("And now?", answer).turns))

    apart = Dataset((conversation("a", "1"), conversation("b", "2")))
    same = Dataset((conversation("a", "1"), conversation("a", "2")))
    assert describe_doubts(apart) == []
    assert describe_doubts(same) == ["Inputs with more than one output: 1, such as 'And now?'."]
