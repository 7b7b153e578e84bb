"""Sums of products of 16-bit integers: the instructions we wrote and what LLVM makes of plain vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit, types
from numba.extending import intrinsic

from overtone.kernels import int16_products
from overtone.kernels.llvm import I64, store


def make_product(num_rows: int) -> Callable[[int, int, int], None]:
    """Return a function of addresses: of a panel, of int16 rows, of the int32 sums [row, 16]."""

    @intrinsic
    def product(context: Any, panel: Any, rows: Any, sums: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            panel, rows, sums = arguments
            inputs = [builder.add(rows, I64(2 * int16_products.QUANT_BLOCK * row)) for row in range(num_rows)]
            for row, vectors in enumerate(int16_products.multiply_panel_by(builder, panel, inputs)):
                for vector, total in enumerate(vectors):
                    store(builder, total, sums, 64 * row + 32 * vector)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return njit(lambda panel, rows, sums: product(panel, rows, sums))  # type: ignore[no-any-return]


WAYS = [
    "plain vectors",
    *(["AVX2"] if int16_products.HAS_AVX2 else []),
    *(["AVX-512 VNNI"] if int16_products.HAS_VNNI else []),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("num_rows", range(1, int16_products.MOST_ROWS + 1))
def test_sums_are_exact_up_to_the_largest_numbers(
    num_rows: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int16_products, "HAS_AVX2", way != "plain vectors")
    monkeypatch.setattr(int16_products, "HAS_VNNI", way == "AVX-512 VNNI")
    random = np.random.default_rng(num_rows)
    rows = random.integers(-8191, 8192, (num_rows, int16_products.QUANT_BLOCK)).astype(np.int16)
    weights = random.integers(-8191, 8192, (int16_products.QUANT_BLOCK, int16_products.PANEL)).astype(
        np.int16
    )
    rows[0], weights[:, 0], weights[:, 1] = 8191, 8192, -8192  # the sum that just fits
    panel = np.ascontiguousarray(weights.reshape(-1, 2, int16_products.PANEL).transpose(0, 2, 1))
    sums = np.empty((num_rows, int16_products.PANEL), np.int32)

    make_product(num_rows)(panel.ctypes.data, rows.ctypes.data, sums.ctypes.data)

    assert np.array_equal(sums, rows.astype(np.int64) @ weights.astype(np.int64))
