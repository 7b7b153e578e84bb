"""Training examples as token ids, and the order in which batches take them.

The order is a pure function of the seed: any step's batch can be named without having run the steps before
it, so a resumed job needs no random state. Nothing is cut here: what does not fit was refused before the
job began.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol


class ExampleEncoder(Protocol):
    """What we need of model.chat.Chat."""

    def example_ids(self, text_input: str, output: str) -> tuple[list[int], int]: ...


@dataclass(frozen=True)
class Document:
    """One example: prompt, output, end of turn. The loss counts the ids from `num_prompt` on."""

    ids: tuple[int, ...]
    num_prompt: int

    @property
    def num_output(self) -> int:
        return len(self.ids) - self.num_prompt


def encode_examples(chat: ExampleEncoder, examples: Iterable[tuple[str, str]]) -> list[Document]:
    """Render each (text_input, output) through the base's chat template."""
    encoded = (chat.example_ids(text_input, output) for text_input, output in examples)
    return [Document(tuple(ids), num_prompt) for ids, num_prompt in encoded]


@dataclass(frozen=True)
class BatchOrder:
    """Each epoch is shuffled anew; the epochs form one row, and batches run across their borders."""

    num_examples: int
    epoch_count: int
    batch_size: int
    seed: int

    @property
    def total_steps(self) -> int:
        return math.ceil(self.num_examples * self.epoch_count / self.batch_size)

    def batch(self, step: int) -> list[int]:
        """Return the examples' numbers of a step, counted from 0. Only the last batch may be smaller."""
        start = step * self.batch_size
        end = min(start + self.batch_size, self.num_examples * self.epoch_count)
        return [
            self._shuffled(place // self.num_examples)[place % self.num_examples]
            for place in range(start, end)
        ]

    def epochs_complete(self, num_steps: int) -> int:
        """Return how many epochs are complete after so many steps: what a TuningSnapshot calls its epoch."""
        return min(num_steps * self.batch_size // self.num_examples, self.epoch_count)

    def _shuffled(self, epoch: int) -> Sequence[int]:
        return _shuffled(self.num_examples, self.seed, epoch)


@lru_cache(maxsize=64)
def _shuffled(num_examples: int, seed: int, epoch: int) -> Sequence[int]:
    numbers = list(range(num_examples))
    random.Random(f"{seed}:{epoch}").shuffle(numbers)
    return numbers
