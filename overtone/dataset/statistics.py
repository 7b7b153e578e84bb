"""What a dataset is like: how long its texts are, how much of them is trained, and whether it is a classification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from overtone.dataset.examples import Dataset, Example
from overtone.dataset.suspicions import find_labels

NUM_LONGEST = 3


@dataclass(frozen=True)
class TokenCount:
    """Tokens of one example as it is trained: all of them with the template's, and those that the loss counts."""

    total: int
    trained: int


@dataclass(frozen=True)
class SizeDistribution:
    """Sizes by powers of two: a bar (limit, count) counts those up to its limit and above the one before."""

    smallest: int
    median: int
    largest: int
    bars: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class LongRow:
    """One of the longest examples."""

    row: int
    size: int


@dataclass(frozen=True)
class Statistics:
    """What a dataset is like. Sizes are in tokens, or in characters where tokens could not be counted."""

    num_examples: int
    unit: str  # tokens, characters
    total: int
    inputs: SizeDistribution
    outputs: SizeDistribution
    trained_share: float
    longest: tuple[LongRow, ...]
    num_distinct_outputs: int
    labels: tuple[tuple[str, int], ...]  # of a classification, each with its number of rows; else none


def describe(dataset: Dataset, counts: Sequence[TokenCount] | None) -> Statistics | None:
    """Return what the examples are like, by their tokens if they are known; None of no examples."""
    if not dataset.examples:
        return None
    sizes = list(map(_count_characters, dataset.examples)) if counts is None else counts
    total = sum(size.total for size in sizes)
    order = sorted(range(len(sizes)), key=lambda row: -sizes[row].total)[:NUM_LONGEST]
    outputs = {
        turn.text for example in dataset.examples for turn in example.turns if turn.role == "assistant"
    }
    return Statistics(
        num_examples=len(dataset),
        unit="characters" if counts is None else "tokens",
        total=total,
        inputs=histogram([size.total - size.trained for size in sizes]),
        outputs=histogram([size.trained for size in sizes]),
        trained_share=sum(size.trained for size in sizes) / max(1, total),
        longest=tuple(LongRow(row, sizes[row].total) for row in order),
        num_distinct_outputs=len(outputs),
        labels=tuple(find_labels(dataset).items()),
    )


def histogram(sizes: Sequence[int]) -> SizeDistribution:
    """Return the histogram of sizes, of which there is at least one; empty bars between others are kept."""
    counts = Counter(max(0, size - 1).bit_length() for size in sizes)
    bars = tuple((1 << power, counts[power]) for power in range(min(counts), max(counts) + 1))
    return SizeDistribution(min(sizes), int(median(sizes)), max(sizes), bars)


def _count_characters(example: Example) -> TokenCount:
    total = sum(len(turn.text) for turn in example.turns)
    return TokenCount(total, sum(len(turn.text) for turn in example.turns if turn.role == "assistant"))
