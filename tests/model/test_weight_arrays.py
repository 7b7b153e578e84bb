"""Weights of every float type, read with numpy as PyTorch reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from overtone.errors import OvertoneError
from overtone.model.weight_arrays import WeightArrays

EVERY_16_BITS = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(256, 256)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_number_of_16_bits_is_read_exactly(dtype: torch.dtype, tmp_path: Path) -> None:
    stored = EVERY_16_BITS.view(dtype)
    save_file({"odd": torch.ones(1, dtype=torch.uint8), "w": stored}, tmp_path / "model.safetensors")
    expected = stored.float().numpy()
    ours = WeightArrays(tmp_path).get("w")
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(expected))
    finite = ~np.isnan(expected)
    assert np.array_equal(ours[finite].view(np.uint32), expected[finite].view(np.uint32))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wider_numbers_are_rounded_as_torch_rounds(dtype: torch.dtype, tmp_path: Path) -> None:
    stored = torch.randn(3, 5, dtype=dtype)
    stored[0, 0] = 1e38 * 10 ** (dtype == torch.float64)  # too large for float32
    save_file({"w": stored}, tmp_path / "model.safetensors")
    assert np.array_equal(WeightArrays(tmp_path).get("w"), stored.float().numpy())


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(OvertoneError, match="has no tensor lm_head"):
        WeightArrays(tmp_path).get("lm_head")
