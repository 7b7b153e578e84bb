"""Training examples as token ids, and the order in which batches take them.

The order is a pure function of the seed: the batch of any step can be computed without running the steps before
it, so a resumed job needs no random state. Nothing is truncated here: an example that does not fit was refused
before the job started.
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
    """The part of bases.chat.Chat that is used here."""

    def encode_example(self, example: Example) -> tuple[list[int], list[tuple[int, int]]]: ...


@dataclass(frozen=True)
class Document:
    """A text as token ids, with the spans of ids that the loss covers.

    A pair has one span: the output and the end of its turn. A conversation has one for each answer. A span is
    (start, end). Spans are in ascending order, do not touch, and start after the first id, which nothing predicts.
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
        """The number of ids before the first trained one."""
        return self.spans[0][0]

    @property
    def num_trained(self) -> int:
        """The number of ids that the loss covers."""
        return sum(end - start for start, end in self.spans)


def encode_examples(chat: ExampleEncoder, examples: Iterable[Example]) -> list[Document]:
    """Render each example through the base's chat template. Raises InvalidArgument if the template refuses one."""
    encoded = map(chat.encode_example, examples)
    return [Document(tuple(ids), tuple(spans)) for ids, spans in encoded]


@dataclass(frozen=True)
class BatchOrder:
    """Each epoch is shuffled anew. The epochs form one sequence, and a batch may span two epochs."""

    num_examples: int
    epoch_count: int
    batch_size: int
    seed: int

    @property
    def total_steps(self) -> int:
        return count_steps(self.num_examples, self.epoch_count, self.batch_size)

    def places(self, step: int) -> range:
        """Return a step's places (from 0) in the sequence of all epochs. Only the last batch may be smaller."""
        start = step * self.batch_size
        return range(start, min(start + self.batch_size, self.num_examples * self.epoch_count))

    def example_at(self, place: int) -> int:
        """Return the number of the example at a place."""
        return self._shuffled(place // self.num_examples)[place % self.num_examples]

    def batch(self, step: int) -> list[int]:
        """Return the numbers of a step's examples. A huge batch may not fit into memory; see `places`."""
        return [self.example_at(place) for place in self.places(step)]

    def epochs_complete(self, num_steps: int) -> int:
        """Return how many epochs are complete after this many steps: the `epoch` of a TuningSnapshot."""
        return min(num_steps * self.batch_size // self.num_examples, self.epoch_count)

    def _shuffled(self, epoch: int) -> Sequence[int]:
        return _shuffled(self.num_examples, self.seed, epoch)


@lru_cache(maxsize=64)
def _shuffled(num_examples: int, seed: int, epoch: int) -> Sequence[int]:
    numbers = list(range(num_examples))
    random.Random(f"{seed}:{epoch}").shuffle(numbers)
    return numbers
