"""Training examples as token ids, and the order in which batches take them.

The order is a pure function of the seed: any step's batch can be named without having run the steps before
it, so a resumed job needs no random state. Nothing is cut here: what does not fit was refused before the
job began.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from overtone.dataset.examples import Example
from overtone.dataset.steps import count_steps


class ExampleEncoder(Protocol):
    """What we need of bases.chat.Chat."""

    def encode_example(self, example: Example) -> tuple[list[int], list[tuple[int, int]]]: ...


@dataclass(frozen=True)
class Document:
    """A text as token ids, with the spans of ids that the loss counts.

    Of a pair that is one span, the output and the end of its turn; of a conversation one for each answer. A span is
    (start, end); spans grow, do not touch, and the first begins after the first id, which nothing predicts.
    """

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        borders = [border for span in self.spans for border in span]
        assert borders == sorted(set(borders)), "spans grow and do not touch"
        assert borders and 0 < borders[0] < borders[-1] <= len(self.ids), (
            "spans lie within the ids, after the first"
        )

    @classmethod
    def of_pair(cls, ids: Sequence[int], num_prompt: int) -> Document:
        """Return a prompt and its output, of which the latter is trained."""
        return cls(tuple(ids), ((num_prompt, len(ids)),))

    @property
    def num_prompt(self) -> int:
        """How many ids stand before the first that is trained."""
        return self.spans[0][0]

    @property
    def num_trained(self) -> int:
        """How many ids the loss counts."""
        return sum(end - start for start, end in self.spans)


def encode_examples(chat: ExampleEncoder, examples: Iterable[Example]) -> list[Document]:
    """Render each example through the base's chat template. Raises InvalidArgument for one that it refuses."""
    encoded = map(chat.encode_example, examples)
    return [Document(tuple(ids), tuple(spans)) for ids, spans in encoded]


@dataclass(frozen=True)
class BatchOrder:
    """Each epoch is shuffled anew; the epochs form one row, and batches run across their borders."""

    num_examples: int
    epoch_count: int
    batch_size: int
    seed: int

    @property
    def total_steps(self) -> int:
        return count_steps(self.num_examples, self.epoch_count, self.batch_size)

    def places(self, step: int) -> range:
        """Return the places of a step, counted from 0, in the row of all epochs. Only the last batch may be smaller."""
        start = step * self.batch_size
        return range(start, min(start + self.batch_size, self.num_examples * self.epoch_count))

    def example_at(self, place: int) -> int:
        """Return which example stands at a place."""
        return self._shuffled(place // self.num_examples)[place % self.num_examples]

    def batch(self, step: int) -> list[int]:
        """Return the examples' numbers of a step. A batch may be larger than memory: see `places`."""
        return [self.example_at(place) for place in self.places(step)]

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
