"""Packing loses nothing; rounding to 8 bits loses little."""

import numpy as np
import pytest

from overtone.kernels.tiles import QUANT_BLOCK, TILE, Tiles, pack_q4, pack_q8, quantise_q8

random = np.random.default_rng(0)
Q4_NUMBERS = random.integers(0, 16, (2 * TILE, 3 * QUANT_BLOCK), dtype=np.uint8)
Q8_NUMBERS = random.integers(-127, 128, (2 * TILE, 3 * QUANT_BLOCK), dtype=np.int8)
SCALES, MINIMA = random.standard_normal((2, 2 * TILE, 3)).astype(np.float16)


def unpack_scales(tiles: Tiles, index: int) -> np.ndarray:
    start = tiles.kind.weight_bytes + index * 2 * TILE
    raw = np.ascontiguousarray(tiles.data[:, :, start : start + 2 * TILE]).view(np.float16)
    return raw.transpose(0, 2, 1).reshape(tiles.num_outputs, -1)


def test_4_bit_numbers_lie_where_the_kernels_look() -> None:
    pairs = Q4_NUMBERS[:, 0::2] | (Q4_NUMBERS[:, 1::2] << 4)
    tiles = pack_q4(pairs, SCALES, MINIMA)
    for output, number in ((0, 0), (5, 37), (13, 63), (31, 95)):
        tile, within = divmod(output, TILE)
        block, i = divmod(number, QUANT_BLOCK)
        byte = tiles.data[tile, block, ((i // 4) * 2 + within // 8) * 16 + within % 8 * 2 + i % 2]
        assert (byte >> 4 if i % 4 >= 2 else byte & 15) == Q4_NUMBERS[output, number]
    assert (unpack_scales(tiles, 0) == SCALES).all()
    assert (unpack_scales(tiles, 1) == MINIMA).all()


def test_8_bit_numbers_lie_where_the_kernels_look() -> None:
    tiles = pack_q8(Q8_NUMBERS, SCALES)
    for output, number in ((0, 0), (5, 37), (13, 63), (31, 95)):
        tile, within = divmod(output, TILE)
        block, i = divmod(number, QUANT_BLOCK)
        byte = tiles.data[tile, block, ((i // 2) * 2 + within // 8) * 16 + within % 8 * 2 + i % 2]
        assert byte.view(np.int8) == Q8_NUMBERS[output, number]
    assert (unpack_scales(tiles, 0) == SCALES).all()


def test_rounding_to_8_bits_stays_within_half_a_step() -> None:
    weights = random.standard_normal((TILE, 2 * QUANT_BLOCK)).astype(np.float32)
    tiles = quantise_q8(weights)
    steps = unpack_scales(tiles, 0).astype(np.float32)
    assert steps == pytest.approx(np.abs(weights).reshape(TILE, 2, QUANT_BLOCK).max(2) / 127, rel=1e-3)
    assert (tiles.num_outputs, tiles.num_inputs) == weights.shape
