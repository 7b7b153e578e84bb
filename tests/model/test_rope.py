"""Frequencies and angles in numpy against PyTorch's, with which models were published."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from overtone.model.rope import Rope
from overtone.model.rotation import make_tables

ULP = 2.0**-23


@pytest.mark.parametrize("theta", [10_000.0, 100_000, 1_000_000.0])
@pytest.mark.parametrize("head_size", [64, 96, 128])
def test_the_frequencies_are_those_of_torch(theta: float, head_size: int) -> None:
    exponents = torch.arange(0, head_size, 2, dtype=torch.int64).float() / head_size
    expected = (1.0 / (theta**exponents)).numpy()
    ours = Rope.parse({"rope_theta": theta}, head_size).inv_freq
    np.testing.assert_allclose(ours, expected, rtol=ULP)


def test_cosines_and_sines_are_those_of_torch() -> None:
    rope = Rope(Rope.parse({"rope_theta": 10_000.0}, 64).inv_freq, 1.25)
    cos_TF, sin_TF = rope.tables(np.arange(4096))
    cos_T1R, sin_T1R = make_tables(rope, torch.arange(4096), torch.float32)
    np.testing.assert_allclose(cos_TF, cos_T1R[:, 0, :32].numpy(), rtol=0, atol=1.25 * ULP)
    np.testing.assert_allclose(sin_TF, sin_T1R[:, 0, 32:].numpy(), rtol=0, atol=1.25 * ULP)
