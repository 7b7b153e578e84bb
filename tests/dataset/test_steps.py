"""The number of steps of a job."""

from __future__ import annotations

import pytest

from overtone.dataset.steps import count_steps


@pytest.mark.parametrize(
    ("num_examples", "epoch_count", "batch_size", "steps"),
    [(15, 5, 2, 38), (15, 1, 4, 4), (1, 1, 64, 1), (3, 7, 3, 7), (2**62 + 1, 1, 2, 2**61 + 1)],
)
def test_steps_are_the_examples_seen_over_the_batch_rounded_up(
    num_examples: int, epoch_count: int, batch_size: int, steps: int
) -> None:
    assert count_steps(num_examples, epoch_count, batch_size) == steps
