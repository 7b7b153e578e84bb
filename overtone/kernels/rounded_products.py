"""Products of a few dozen rows with the base's own tiles, in 16-bit integers with a scale for every 32.

Forward, activations of 16 bits meet the integers that a tile holds, as in the engine: the sums of 32 are exact.
Backward (dx = g W) the scales of the tiles lie across the sum: blocks of 32 outputs are rounded to one scale, in 14
bits, and so are the gradients, 32 by 32; the sums are exact again and just fit into 32 bits. A row's result does not
depend on the rows beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from overtone.kernels.calls import separately
from overtone.kernels.int16_products import BLOCK_PANEL_BYTES, HAS_AVX2, I16_16, MOST_ROWS, multiply_panel_by
from overtone.kernels.llvm import (
    F16_8,
    F32,
    F32_8,
    I16_8,
    I32_8,
    I64,
    LANES,
    broadcast,
    fused_add,
    intrinsic,
    load,
    prefetch,
    store,
)
from overtone.kernels.panels import Q4_BYTES, VECTORS, transpose
from overtone.kernels.tile_products import multiply_rows_wide, widen
from overtone.kernels.tiles import PANEL, Q4, Q8, QUANT_BLOCK, TILE, Kind
from overtone.kernels.views import CACHE_LINE, compiled

LARGEST = 8191  # 14 bits: 32 products of two such numbers, the second rounded once more, stay below 2^31
LARGEST_GRADIENT = float(LARGEST)
PANEL_BLOCKS = 16  # of 32 outputs whose weights are in a panel at once: 16 KB, half of the first cache
BLOCK_TILES = QUANT_BLOCK // TILE
AHEAD = 4  # tiles: they lie far apart, where the processor does not look by itself


def step_sizes_of(kind: Kind, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what one step of the rounded weights is worth, [input block, output block]."""
    scales = tiles[:, :, kind.weight_bytes :].view(np.float16).astype(np.float32)
    d, m = scales[:, :, :TILE], scales[:, :, TILE:]
    ends = (m, m + 15 * d) if kind is Q4 else (-128 * d, 127 * d)
    largest = np.maximum(*map(np.abs, ends)).max(axis=2)
    by_block = largest.reshape(-1, BLOCK_TILES, largest.shape[1]).max(axis=1)
    return np.ascontiguousarray(np.maximum(by_block / LARGEST, np.finfo(np.float32).tiny).T)


# Panels of rounded weights


def _rounded_product(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """Return a b / 2^15, rounded."""
    if HAS_AVX2:
        kind = ir.FunctionType(I16_16, [I16_16] * 2)
        return builder.call(
            cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.pmul.hr.sw"), [a, b]
        )
    ints = ir.VectorType(I32_8.element, 16)
    product = builder.mul(builder.sext(a, ints), builder.sext(b, ints))
    half_up = builder.add(product, ir.Constant(ints, [1 << 14] * 16))
    return builder.trunc(builder.ashr(half_up, ir.Constant(ints, [15] * 16)), I16_16)


def _scales_as_words(builder: ir.IRBuilder, address: ir.Value, factor: ir.Value) -> ir.Value:
    """Return a tile's 16 scales, multiplied by a factor and rounded."""
    floor = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(F32_8, [F32_8]), "llvm.floor.v8f32"
    )
    words = []
    for vector in range(VECTORS):
        scales = builder.fpext(load(builder, address, 16 * vector, F16_8), F32_8)
        half_up = fused_add(builder, scales, broadcast(builder, factor), ir.Constant(F32_8, [0.5] * LANES))
        words.append(builder.trunc(builder.fptosi(builder.call(floor, [half_up]), I32_8), I16_8))
    return builder.shuffle_vector(*words, ir.Constant(ir.VectorType(I32_8.element, 16), list(range(16))))


def _words_of_inputs(kind: Kind, builder: ir.IRBuilder, words: ir.Value) -> list[ir.Value]:
    """Return, for each input of a step, its 16 weights, moved to the upper bits of 16."""

    def moved(bits: int, mask: int) -> ir.Value:
        amount = ir.Constant(I16_16, [abs(bits)] * 16)
        shifted = builder.shl(words, amount) if bits >= 0 else builder.lshr(words, amount)
        return builder.and_(shifted, ir.Constant(I16_16, [mask] * 16))

    if kind is Q4:  # a byte holds inputs c and c + 2
        return [moved(bits, 15 << 11) for bits in (11, 3, 7, -1)]
    return [moved(bits, 255 << 8) for bits in (8, 0)]


def _emit_fill(
    kind: Kind,
    builder: ir.IRBuilder,
    block: ir.Value,
    half: ir.Value,
    stride: ir.Value,
    step_sizes: ir.Value,
    panel: ir.Value,
    num_blocks: ir.Value,
) -> None:
    """panel[o, i] = w[o, i] in steps. `block` is the first tile's that holds the inputs, `half` which 16 of its 32."""
    begin = builder.mul(half, I64(kind.weight_bytes // 2))
    upper = 2.0 ** (15 - (11 if kind is Q4 else 8))  # what the product divides by, less the bits moved up
    per_step = 4 if kind is Q4 else 2
    with cgutils.for_range(builder, num_blocks) as blocks:
        step_size = load(builder, builder.add(step_sizes, builder.mul(blocks.index, I64(4))), 0, F32)
        inverse = builder.fdiv(F32(1.0), step_size)
        for number in range(BLOCK_TILES):
            tile = builder.add(builder.mul(blocks.index, I64(BLOCK_TILES)), I64(number))
            here = builder.add(block, builder.mul(tile, stride))
            there = builder.add(panel, builder.mul(tile, I64(BLOCK_PANEL_BYTES // BLOCK_TILES)))
            ahead = builder.add(here, builder.mul(stride, I64(AHEAD)))
            for line in range(0, kind.weight_bytes // 2, CACHE_LINE):
                prefetch(builder, builder.add(builder.add(ahead, begin), I64(line)))
            prefetch(builder, builder.add(ahead, I64(kind.weight_bytes)))
            at = builder.add(here, I64(kind.weight_bytes))
            scales = _scales_as_words(builder, at, builder.fmul(inverse, F32(upper)))
            minima = None
            if kind.num_scales > 1:
                minima = _scales_as_words(builder, builder.add(at, I64(2 * TILE)), inverse)
            for eight in range(PANEL // LANES):
                by_input = []
                for step in range(eight * LANES // per_step, (eight + 1) * LANES // per_step):
                    words = load(builder, builder.add(here, begin), 32 * step, I16_16)
                    for word in _words_of_inputs(kind, builder, words):
                        value = _rounded_product(builder, word, scales)
                        value = builder.add(value, minima) if minima else value
                        by_input.append(builder.bitcast(value, I32_8))
                for pair, values in enumerate(transpose(builder, by_input)):
                    store(builder, values, there, 4 * PANEL * pair + 4 * LANES * eight)


def _make_fill(kind: Kind) -> Any:
    """Return an intrinsic, fill(block, half, stride, step_sizes, panel, num_blocks): see `_emit_fill`."""

    @intrinsic
    def fill(
        context: Any, block: Any, half: Any, stride: Any, step_sizes: Any, panel: Any, num_blocks: Any
    ) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _emit_fill(kind, builder, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return fill


_fill_q4, _fill_q8 = map(_make_fill, (Q4, Q8))


# Products with them


def _emit_product(
    builder: ir.IRBuilder,
    num_rows: int,
    panel: ir.Value,
    step_sizes: ir.Value,
    ints: ir.Value,
    stride_ints: ir.Value,
    factors: ir.Value,
    stride_factors: ir.Value,
    y: ir.Value,
    stride_y: ir.Value,
    num_blocks: ir.Value,
) -> None:
    def of_row(address: ir.Value, stride: ir.Value, row: int) -> ir.Value:
        return builder.add(address, builder.mul(stride, I64(row)))

    of_rows = [of_row(y, stride_y, row) for row in range(num_rows)]
    with cgutils.for_range(builder, num_blocks) as blocks:
        at = builder.mul(blocks.index, I64(2 * QUANT_BLOCK))
        rows = [builder.add(of_row(ints, stride_ints, row), at) for row in range(num_rows)]
        here = builder.add(panel, builder.mul(blocks.index, I64(BLOCK_PANEL_BYTES)))
        products = multiply_panel_by(builder, here, rows)
        step_size = load(builder, builder.add(step_sizes, builder.mul(blocks.index, I64(4))), 0, F32)
        for row, there in enumerate(of_rows):
            at = builder.add(of_row(factors, stride_factors, row), builder.mul(blocks.index, I64(8)))
            scale = broadcast(builder, builder.fmul(load(builder, at, 0, F32), step_size))
            for vector, product in enumerate(products[row]):
                before = load(builder, there, 32 * vector, F32_8)
                after = fused_add(builder, builder.sitofp(product, F32_8), scale, before)
                store(builder, after, there, 32 * vector)


def _make_product(num_rows: int) -> Any:
    @intrinsic
    def product(
        context: Any,
        panel: Any,
        step_sizes: Any,
        ints: Any,
        stride_ints: Any,
        factors: Any,
        stride_factors: Any,
        y: Any,
        stride_y: Any,
        num_blocks: Any,
    ) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _emit_product(builder, num_rows, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), codegen

    return product


_p1, _p2, _p3, _p4 = (_make_product(num_rows) for num_rows in range(1, MOST_ROWS + 1))


@compiled
def rows_together(left: int) -> int:
    """Return how many of the rows left are computed next: four, or the last ones in two like parts."""
    if left >= 2 * MOST_ROWS or left <= MOST_ROWS:
        return min(left, MOST_ROWS)
    return (left + 1) // 2


@separately
def multiply_tile(
    kind: int,
    tile: int,
    num_blocks: int,
    ints: int,
    factors: int,
    num_rows: int,
    y: int,
    stride_y: int,
    panel: int,
) -> None:
    """y[t, 0:16] += Σ_i x[t, i] w[o, i] for the 16 outputs of a tile; x as ints [T, block, 32] and factors.

    `panel` has room for the tile's inputs, [num_blocks · 32, 16] int16, and SUMS_BYTES.
    """
    row = 0
    widen(kind, tile, panel, num_blocks)
    while row < num_rows:
        a = ints + 2 * QUANT_BLOCK * row * num_blocks
        f = factors + 8 * row * num_blocks
        b = y + row * stride_y
        count = rows_together(num_rows - row)
        multiply_rows_wide(kind, count, tile, panel, a, f, b, num_blocks, stride_y // 4)
        row += count


@separately
def multiply_tiles_back(
    kind: int,
    tiles: int,
    stride_tiles: int,
    column: int,
    step_sizes: int,
    num_blocks: int,
    ints: int,
    factors: int,
    blocks_in_row: int,
    num_rows: int,
    y: int,
    stride_y: int,
    panel: int,
) -> None:
    """y[t, 0:16] += Σ_o g[t, o] w[o, i] for 16 inputs i from `column`; g as ints [T, block, 32] and factors.

    The blocks may be some of a row's. `step_sizes` is that column's row of `step_sizes_of`, from the first of them on;
    `panel` has room for [PANEL_BLOCKS · 32, 16] int16.
    """
    block = tiles + column // QUANT_BLOCK * kind
    half = column % QUANT_BLOCK // PANEL
    first = 0
    stride_ints, stride_factors = 2 * QUANT_BLOCK * blocks_in_row, 8 * blocks_in_row
    while first < num_blocks:
        size = min(PANEL_BLOCKS, num_blocks - first)
        row = 0
        sizes = step_sizes + 4 * first
        if kind == Q4_BYTES:
            _fill_q4(block + BLOCK_TILES * first * stride_tiles, half, stride_tiles, sizes, panel, size)
        else:
            _fill_q8(block + BLOCK_TILES * first * stride_tiles, half, stride_tiles, sizes, panel, size)
        while row < num_rows:
            a = ints + row * stride_ints + 2 * QUANT_BLOCK * first
            f = factors + row * stride_factors + 8 * first
            b = y + row * stride_y
            count = rows_together(num_rows - row)
            if count == 4:
                _p4(panel, sizes, a, stride_ints, f, stride_factors, b, stride_y, size)
            elif count == 3:
                _p3(panel, sizes, a, stride_ints, f, stride_factors, b, stride_y, size)
            elif count == 2:
                _p2(panel, sizes, a, stride_ints, f, stride_factors, b, stride_y, size)
            else:
                _p1(panel, sizes, a, stride_ints, f, stride_factors, b, stride_y, size)
            row += count
        first += size


ADDRESSES = {kernel._pyfunc.__name__: kernel.address for kernel in (multiply_tile, multiply_tiles_back)}
