"""How many optimiser steps a dataset takes."""

from __future__ import annotations


def count_steps(num_examples: int, epoch_count: int, batch_size: int) -> int:
    """Return ceil(examples · epochs / batch): batches run across the borders of epochs."""
    return -(-num_examples * epoch_count // batch_size)
