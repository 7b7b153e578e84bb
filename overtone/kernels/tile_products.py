"""Matrix products over 4-bit and 8-bit tiles, as LLVM vectors of eight that numba compiles.

Activations are 16-bit integers with one scale per quant block of 32, so the inner product of a block is exact
integer arithmetic, and the error is that of rounding to 16 bits: smaller than bfloat16's. A row's result
depends on nothing but that row: neither on the batch it is in nor on the number of threads.

    y_o = Σ_b  d_ob · s_b · (Σ_i q_oi x_i)  +  m_ob · (s_b Σ_i x_i)          w = d q + m,  activation = s x

The layout of the tiles is kernels/tiles.py's. Many rows (a prompt) meet a tile whose weights have been widened to 16
bits once for all of them: a panel.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from overtone.kernels.int16_products import (
    BLOCK_PANEL_BYTES,
    I16_16,
    MOST_ROWS,
    add_pair_products,
    multiply_panel_by,
)
from overtone.kernels.llvm import (
    F16_8,
    F32,
    F32_8,
    I8,
    I32,
    I32_8,
    I64,
    LANES,
    broadcast,
    fused_add,
    intrinsic,
    load,
    store,
)
from overtone.kernels.tiles import Q4, Q8, QUANT_BLOCK, TILE, Kind
from overtone.kernels.views import compiled

VECTORS = TILE // LANES
LARGEST_ACTIVATION = 32767.0
SUMS_BYTES = 4 * TILE * MOST_ROWS  # behind a panel
Q4_BYTES = Q4.block_bytes
STEPS = QUANT_BLOCK // 4  # of a quant block: four inputs each
I8_16 = ir.VectorType(I8, 16)


def weights_of_step(builder: ir.IRBuilder, kind: Kind, address: ir.Value) -> list[list[ir.Value]]:
    """Return the 16-bit weights of four inputs: for both pairs of inputs, outputs 0-7 and 8-15."""
    if kind is Q4:
        packed = [load(builder, address, vector * 16, I8_16) for vector in range(VECTORS)]
        words = [builder.zext(bytes_16, I16_16) for bytes_16 in packed]
        low = [builder.and_(word, ir.Constant(I16_16, [15] * 16)) for word in words]
        return [low, [builder.lshr(word, ir.Constant(I16_16, [4] * 16)) for word in words]]
    packed = [load(builder, address, place * 16, I8_16) for place in range(2 * VECTORS)]
    words = [builder.sext(bytes_16, I16_16) for bytes_16 in packed]
    return [words[:VECTORS], words[VECTORS:]]


def _unpacked(
    builder: ir.IRBuilder, kind: Kind, tile: ir.Value, num_steps: ir.Value, rows: list[ir.Value]
) -> list[ir.Value]:
    """Return the rows' products with a quant block of the tile.

    The loop's length is hidden from LLVM: unrolled, it would keep more weights than there are registers.
    """
    totals = [cgutils.alloca_once(builder, I32_8) for _ in range(len(rows) * VECTORS)]

    def add_step(index: ir.Value, is_first: bool) -> None:
        weights = weights_of_step(builder, kind, _place(builder, tile, index, kind.weight_bytes // STEPS))
        for row, inputs in enumerate(rows):
            here = builder.add(inputs, builder.mul(index, I64(8)))
            for pair in (0, 1):
                two = builder.bitcast(broadcast(builder, load(builder, here, 4 * pair, I32)), I16_16)
                for vector in range(VECTORS):
                    place = totals[row * VECTORS + vector]
                    before = ir.Constant(I32_8, [0] * LANES) if is_first and not pair else builder.load(place)
                    builder.store(add_pair_products(builder, before, weights[pair][vector], two), place)

    add_step(I64(0), True)
    with cgutils.for_range_slice(builder, I64(1), num_steps, I64(1)) as (index, _):
        add_step(index, False)
    return [builder.load(place) for place in totals]


def _scales(builder: ir.IRBuilder, kind: Kind, tile: ir.Value) -> list[list[ir.Value]]:
    """Return the scales, and minima where there are, of a quant block: for outputs 0-7 and 8-15."""
    places = [[16 * (n * VECTORS + vector) for n in range(kind.num_scales)] for vector in range(VECTORS)]
    return [
        [builder.fpext(load(builder, tile, kind.weight_bytes + at, F16_8), F32_8) for at in of_vector]
        for of_vector in places
    ]


def _with_block(
    builder: ir.IRBuilder, scales: list[ir.Value], factors: ir.Value, total: ir.Value, before: ir.Value
) -> ir.Value:
    """Return a row's sum with one more quant block, whose integer products are `total`."""
    scale = builder.fmul(scales[0], broadcast(builder, load(builder, factors, 0, F32)))
    after = fused_add(builder, builder.sitofp(total, F32_8), scale, before)
    if len(scales) == 1:
        return after
    return fused_add(builder, scales[1], broadcast(builder, load(builder, factors, 4, F32)), after)


def _place(builder: ir.IRBuilder, address: ir.Value, index: ir.Value, size: int) -> ir.Value:
    return builder.add(address, builder.mul(index, I64(size)))


def make_product(kind: Kind, num_rows: int) -> Any:
    """Return an intrinsic: one tile times `num_rows` rows of activations.

    product(tile, inputs, factors, outputs, num_blocks, num_steps, output_width): addresses of the tile, of int16
    activations [row, block, 32], of their float32 (scale, scaled sum) [row, block, 2], of float32 outputs.
    `num_steps` is STEPS, hidden from LLVM; `output_width`: numbers from one row of outputs to the next.
    """

    @intrinsic
    def product(
        context: Any,
        tile: Any,
        inputs: Any,
        factors: Any,
        outputs: Any,
        num_blocks: Any,
        num_steps: Any,
        output_width: Any,
    ) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _emit_product(builder, kind, num_rows, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), codegen

    return product


def _emit_product(
    builder: ir.IRBuilder,
    kind: Kind,
    num_rows: int,
    tile: ir.Value,
    inputs: ir.Value,
    factors: ir.Value,
    outputs: ir.Value,
    num_blocks: ir.Value,
    num_steps: ir.Value,
    output_width: ir.Value,
) -> None:
    zero = ir.Constant(F32_8, [0.0] * LANES)
    sums = [cgutils.alloca_once(builder, F32_8) for _ in range(num_rows * VECTORS)]
    for place in sums:
        builder.store(zero, place)
    with cgutils.for_range(builder, num_blocks) as loop:
        here = _place(builder, tile, loop.index, kind.block_bytes)
        numbers = [builder.add(builder.mul(num_blocks, I64(row)), loop.index) for row in range(num_rows)]
        rows = [_place(builder, inputs, number, 2 * QUANT_BLOCK) for number in numbers]
        totals = _unpacked(builder, kind, here, num_steps, rows)
        scales = _scales(builder, kind, here)
        for n, place in enumerate(sums):
            of_row = _place(builder, factors, numbers[n // VECTORS], 8)
            before = builder.load(place)
            builder.store(_with_block(builder, scales[n % VECTORS], of_row, totals[n], before), place)
    for n, place in enumerate(sums):
        there = builder.add(outputs, builder.mul(output_width, I64(4 * (n // VECTORS))))
        store(builder, builder.load(place), there, n % VECTORS * LANES * 4)


def make_wide_product(kind: Kind, num_rows: int) -> Any:
    """Return an intrinsic: the same with the tile's widened weights, added to the outputs.

    product(tile, panel, inputs, factors, outputs, num_blocks, output_width)
    """

    @intrinsic
    def product(
        context: Any,
        tile: Any,
        panel: Any,
        inputs: Any,
        factors: Any,
        outputs: Any,
        num_blocks: Any,
        output_width: Any,
    ) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _emit_wide_product(builder, kind, num_rows, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), codegen

    return product


def _emit_wide_product(
    builder: ir.IRBuilder,
    kind: Kind,
    num_rows: int,
    tile: ir.Value,
    panel: ir.Value,
    inputs: ir.Value,
    factors: ir.Value,
    outputs: ir.Value,
    num_blocks: ir.Value,
    output_width: ir.Value,
) -> None:
    """Keep the sums behind the panel.

    With those of a quant block they are too many for the registers, and outputs may lie whole pages apart, which a
    processor takes for the same place.
    """
    sums = [
        builder.add(_place(builder, panel, num_blocks, BLOCK_PANEL_BYTES), I64(64 * row))
        for row in range(num_rows)
    ]
    for place in sums:
        for vector in range(VECTORS):
            store(builder, ir.Constant(F32_8, [0.0] * LANES), place, 32 * vector)
    with cgutils.for_range(builder, num_blocks) as loop:
        here = _place(builder, tile, loop.index, kind.block_bytes)
        numbers = [builder.add(builder.mul(num_blocks, I64(row)), loop.index) for row in range(num_rows)]
        rows = [_place(builder, inputs, number, 2 * QUANT_BLOCK) for number in numbers]
        totals = multiply_panel_by(builder, _place(builder, panel, loop.index, BLOCK_PANEL_BYTES), rows)
        scales = _scales(builder, kind, here)
        for row, place in enumerate(sums):
            of_row = _place(builder, factors, numbers[row], 8)
            for vector in range(VECTORS):
                before = load(builder, place, 32 * vector, F32_8)
                after = _with_block(builder, scales[vector], of_row, totals[row][vector], before)
                store(builder, after, place, 32 * vector)
    for row, place in enumerate(sums):
        there = builder.add(outputs, builder.mul(output_width, I64(4 * row)))
        for vector in range(VECTORS):
            total, before = (load(builder, at, 32 * vector, F32_8) for at in (place, there))
            store(builder, builder.fadd(before, total), there, 32 * vector)


def make_widening(kind: Kind) -> Any:
    """Return an intrinsic, widen(tile, panel, num_blocks): write a tile's weights into a panel."""

    @intrinsic
    def widen(context: Any, tile: Any, panel: Any, num_blocks: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _emit_widening(builder, kind, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), codegen

    return widen


def _emit_widening(
    builder: ir.IRBuilder, kind: Kind, tile: ir.Value, panel: ir.Value, num_blocks: ir.Value
) -> None:
    with cgutils.for_range(builder, num_blocks) as blocks:
        here = builder.add(tile, builder.mul(blocks.index, I64(kind.block_bytes)))
        there = builder.add(panel, builder.mul(blocks.index, I64(BLOCK_PANEL_BYTES)))
        with cgutils.for_range(builder, I64(STEPS)) as steps:
            weights = weights_of_step(
                builder, kind, _place(builder, here, steps.index, kind.weight_bytes // STEPS)
            )
            target = _place(builder, there, steps.index, BLOCK_PANEL_BYTES // STEPS)
            for n, words in enumerate(words for pair in weights for words in pair):
                store(builder, words, target, 32 * n)


PRODUCTS = {(kind, num_rows): make_product(kind, num_rows) for kind in (Q4, Q8) for num_rows in (1, 2, 4)}
WIDE_PRODUCTS = {
    (kind, rows): make_wide_product(kind, rows) for kind in (Q4, Q8) for rows in range(1, MOST_ROWS + 1)
}
WIDENINGS = {kind: make_widening(kind) for kind in (Q4, Q8)}

_q4_wide_1, _q4_wide_2, _q4_wide_3, _q4_wide_4 = (WIDE_PRODUCTS[Q4, rows] for rows in (1, 2, 3, 4))
_q8_wide_1, _q8_wide_2, _q8_wide_3, _q8_wide_4 = (WIDE_PRODUCTS[Q8, rows] for rows in (1, 2, 3, 4))
_q4_widen, _q8_widen = WIDENINGS[Q4], WIDENINGS[Q8]


@compiled
def widen(kind: int, tile: int, panel: int, num_blocks: int) -> None:
    """Write a tile's weights into a panel."""
    if kind == Q4_BYTES:
        _q4_widen(tile, panel, num_blocks)
    else:
        _q8_widen(tile, panel, num_blocks)


@compiled
def multiply_rows_wide(
    kind: int,
    num_rows: int,
    tile: int,
    panel: int,
    ints: int,
    factors: int,
    y: int,
    num_blocks: int,
    output_width: int,
) -> None:
    """y += 1 to 4 rows of activations times one tile, whose widened weights are in the panel.

    Behind them it keeps SUMS_BYTES of its own.
    """
    if kind == Q4_BYTES:
        if num_rows == 4:
            _q4_wide_4(tile, panel, ints, factors, y, num_blocks, output_width)
        elif num_rows == 3:
            _q4_wide_3(tile, panel, ints, factors, y, num_blocks, output_width)
        elif num_rows == 2:
            _q4_wide_2(tile, panel, ints, factors, y, num_blocks, output_width)
        else:
            _q4_wide_1(tile, panel, ints, factors, y, num_blocks, output_width)
    elif num_rows == 4:
        _q8_wide_4(tile, panel, ints, factors, y, num_blocks, output_width)
    elif num_rows == 3:
        _q8_wide_3(tile, panel, ints, factors, y, num_blocks, output_width)
    elif num_rows == 2:
        _q8_wide_2(tile, panel, ints, factors, y, num_blocks, output_width)
    else:
        _q8_wide_1(tile, panel, ints, factors, y, num_blocks, output_width)
