"""What the demo trains on and what it asks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from overtone.cli.demo_stories import SUPPORT_FILE, TUTORIAL, Story, load_support

EXAMPLES = Path(__file__).parents[2] / "examples" / "support.csv"


def test_the_examples_of_the_wheel_are_those_of_the_repository() -> None:
    assert SUPPORT_FILE.read_bytes() == EXAMPLES.read_bytes()


@pytest.mark.parametrize("story", [load_support(), TUTORIAL], ids=["support", "tutorial"])
def test_no_question_was_trained_on(story: Story) -> None:
    trained = {example.text_input.casefold() for example in story.dataset.examples}
    assert not trained & {question.casefold() for question, _ in story.questions}


def test_the_questions_cover_every_category_alike() -> None:
    story = load_support()
    assert Counter(right for _, (right,) in story.questions) == dict.fromkeys(
        {example.output for example in story.dataset.examples}, 2
    )
