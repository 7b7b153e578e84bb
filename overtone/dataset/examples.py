"""What a model is tuned on: examples made of turns, and a problem with one of them. No protocol and no file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Role = Literal["user", "assistant", "system"]


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: Role
    text: str


@dataclass(frozen=True)
class Example:
    """A conversation whose answers are learnt. Its short form is a pair: what is asked, and the answer."""

    turns: tuple[Turn, ...]

    @classmethod
    def pair(cls, text_input: str, output: str) -> Example:
        """Return the example of one question and its answer."""
        return cls((Turn("user", text_input), Turn("assistant", output)))

    @property
    def is_pair(self) -> bool:
        """Whether it is one question and its answer."""
        turns = self.turns
        return len(turns) == 2 and turns[0].role == "user" and turns[1].role == "assistant"

    @property
    def roles(self) -> tuple[Role, ...]:
        """Who speaks, turn by turn."""
        return tuple(turn.role for turn in self.turns)

    @property
    def text_input(self) -> str:
        """The text before the last answer; of a pair, what is asked."""
        return self.turns[-2].text

    @property
    def output(self) -> str:
        """The last answer; of a pair, the only one."""
        return self.turns[-1].text

    def field(self, index: int) -> str:
        """Return what a turn is called: a pair's have names of their own."""
        return ("text_input", "output")[index] if self.is_pair else f"turns[{index}]"


@dataclass(frozen=True)
class Dataset:
    """Examples in the order in which they were given."""

    examples: tuple[Example, ...]

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str]]) -> Dataset:
        """Return the dataset of (text_input, output) pairs."""
        return cls(tuple(Example.pair(text_input, output) for text_input, output in pairs))

    def __len__(self) -> int:
        return len(self.examples)


class ProblemKind(StrEnum):
    """What kind of thing is wrong. A tuning is refused for the first ones, for the others it is not."""

    UNREADABLE = "unreadable"
    NOT_TEXT = "not_text"
    SURROGATE = "surrogate"
    EMPTY = "empty"
    TOO_LONG = "too_long"
    TURN_ORDER = "turn_order"
    ROLE = "role"
    CONVERSATION = "conversation"
    BLANK = "blank"
    DOUBLED = "doubled"
    CONTRADICTORY = "contradictory"
    HELD_OUT = "held_out"
    SWAPPED = "swapped"
    MOJIBAKE = "mojibake"
    CONTROL_TOKEN = "control_token"


WARNINGS = frozenset(
    (
        ProblemKind.BLANK,
        ProblemKind.DOUBLED,
        ProblemKind.CONTRADICTORY,
        ProblemKind.HELD_OUT,
        ProblemKind.SWAPPED,
        ProblemKind.MOJIBAKE,
        ProblemKind.CONTROL_TOKEN,
    )
)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a dataset: in which example (counted from 0; None for all of it), in which field, and what.

    `field` is `text_input` or `output` of a pair, `turns[2]` of a conversation, or "" for the example as a whole.
    `text` ends the sentence that a field begins. `fix` is a sentence that says what mends it, "" where nothing does.
    """

    row: int | None
    field: str
    text: str
    kind: ProblemKind
    fix: str = ""

    @property
    def severity(self) -> Literal["error", "warning"]:
        """Whether a tuning is refused for it."""
        return "warning" if self.kind in WARNINGS else "error"
