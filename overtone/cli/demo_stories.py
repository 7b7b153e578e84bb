"""The data of `overtone demo`: the pairs it trains on and the questions it asks. They do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overtone.cli.client import to_training_data
from overtone.config import DEFAULT_BASE
from overtone.dataset.columns import Columns
from overtone.dataset.examples import Dataset
from overtone.dataset.files import read_examples

SUPPORT_FILE = Path(__file__).with_name("support.csv")  # examples/support.csv is the same


@dataclass(frozen=True)
class Story:
    """A tuned model to create, in the tuning API's terms, and the questions that show what it learned."""

    title: str
    display_name: str
    base: str
    dataset: Dataset
    hyperparameters: dict[str, float]
    questions: Sequence[tuple[str, tuple[str, ...]]]  # with the right answers; none is an example

    def tuned_model(self) -> dict[str, object]:
        """Return the body of the request that creates the model."""
        return {
            "display_name": self.display_name,
            "base_model": self.base,
            "tuning_task": {
                "hyperparameters": self.hyperparameters,
                "training_data": to_training_data(self.dataset),
            },
        }


def load_support() -> Story:
    """Return the story in which customers' messages are sorted into four categories."""
    return Story(
        title="sorting customers' messages",
        display_name="support",
        base=f"models/{DEFAULT_BASE}",
        dataset=read_examples(SUPPORT_FILE, Columns("message", "category")),
        hyperparameters={},
        questions=UNSEEN_MESSAGES,
    )


# Two for each category, written before the first run and not changed since.
UNSEEN_MESSAGES = (
    ("Where can I see how far my package has come?", ("shipping",)),
    ("Do you deliver on Saturdays?", ("shipping",)),
    ("The jacket is too small, how do I send it back?", ("refund",)),
    ("I would like my money for the broken lamp", ("refund",)),
    ("How do I reset my password?", ("account",)),
    ("I cannot change my email address", ("account",)),
    ("Why was my card charged twice?", ("billing",)),
    ("Please send me a copy of the invoice", ("billing",)),
)

TUTORIAL = Story(
    title="the Gemini API's tuning tutorial",
    display_name="number generator model",
    base="models/gemini-1.5-flash-001-tuning",
    dataset=Dataset.of_pairs(
        (
            ("1", "2"),
            ("3", "4"),
            ("-3", "-2"),
            ("twenty two", "twenty three"),
            ("two hundred", "two hundred one"),
            ("ninety nine", "one hundred"),
            ("8", "9"),
            ("-98", "-97"),
            ("1,000", "1,001"),
            ("10,100,000", "10,100,001"),
            ("thirteen", "fourteen"),
            ("eighty", "eighty one"),
            ("one", "two"),
            ("three", "four"),
            ("seven", "eight"),
        )
    ),
    hyperparameters={"batch_size": 2, "learning_rate": 0.001, "epoch_count": 5},
    questions=(
        ("LXIII", ("LXIV",)),
        ("5", ("6",)),
        ("forty two", ("forty three",)),
        ("999", ("1000", "1,000")),
        ("nineteen", ("twenty",)),
        ("-7", ("-6",)),
    ),
)
