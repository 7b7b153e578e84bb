"""What a dataset is like."""

from __future__ import annotations

from overtone.dataset.examples import Dataset
from overtone.dataset.statistics import LongRow, SizeDistribution, TokenCount, describe, histogram


def test_a_histogram_has_a_bar_for_each_power_of_two_between_the_smallest_and_the_largest() -> None:
    assert histogram([3, 4, 5, 17]) == SizeDistribution(3, 4, 17, ((4, 2), (8, 1), (16, 0), (32, 1)))
    assert histogram([0, 1, 2]).bars == ((1, 2), (2, 1))


def test_statistics_are_of_tokens_where_they_are_known() -> None:
    dataset = Dataset.of_pairs([("a", "x"), ("b", "x"), ("c", "y")])
    found = describe(dataset, [TokenCount(10, 2), TokenCount(30, 3), TokenCount(20, 1)])
    assert found is not None
    assert (found.unit, found.total, found.num_distinct_outputs) == ("tokens", 60, 2)
    assert found.trained_share == 0.1
    assert (found.inputs.largest, found.outputs.largest) == (27, 3)
    assert found.longest == (LongRow(1, 30), LongRow(2, 20), LongRow(0, 10))


def test_statistics_are_of_characters_otherwise() -> None:
    found = describe(Dataset.of_pairs([("abc", "é")]), None)
    assert found is not None
    assert (found.unit, found.total, found.inputs.median, found.outputs.median) == ("characters", 4, 3, 1)


def test_there_is_nothing_to_say_of_no_examples() -> None:
    assert describe(Dataset(()), None) is None
