"""Matrix products over 4-bit and 8-bit tiles, as LLVM vectors of eight that numba compiles.

Activations are 16-bit integers with one scale per group of 32, so the inner product of a group is exact
integer arithmetic, and the error is that of rounding to 16 bits: smaller than bfloat16's. A row's result
depends on nothing but that row: neither on the batch it is in nor on the number of threads.

    y_o = Σ_g  d_og · s_g · (Σ_i q_oi x_i)  +  m_og · (s_g Σ_i x_i)          w = d q + m,  activation = s x

The layout of the tiles is model/quant.py's. Many rows (a prompt) meet a tile whose weights have been widened to 16
bits once for all of them: a panel.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from overtone.kernels.emit import (
    F32,
    FLOATS_8,
    HALFS_8,
    I8,
    I16,
    I32,
    I64,
    INTS_8,
    LANES,
    fused_add,
    load,
    spread,
    store,
)  # fmt: skip
from overtone.model.quant import GROUP, Q4, Q8, TILE, Kind

HAS_AVX2 = get_host_cpu_features().get("avx2", False)
HALVES = TILE // LANES
STEPS = GROUP // 4  # of a group: four inputs each
WIDE_ROWS = 4  # that meet a panel together: eight vectors of sums in registers
PANEL_BYTES = 2 * TILE * GROUP  # of a group's widened weights
BYTES_16, WORDS_16 = ir.VectorType(I8, 16), ir.VectorType(I16, 16)


def add_pair_products(builder: ir.IRBuilder, total: ir.Value, left: ir.Value, right: ir.Value) -> ir.Value:
    """total[i] += left[2i] right[2i] + left[2i+1] right[2i+1]: one instruction on x86."""
    if HAS_AVX2:
        signature = ir.FunctionType(INTS_8, [WORDS_16] * 2)
        multiply = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx2.pmadd.wd")
        return builder.add(total, builder.call(multiply, [left, right]))
    sums = []
    for first in (0, 1):
        lanes = ir.Constant(INTS_8, list(range(first, 16, 2)))
        a, b = (builder.sext(builder.shuffle_vector(v, v, lanes), INTS_8) for v in (left, right))
        sums.append(builder.mul(a, b))
    return builder.add(total, builder.add(*sums))


def weights_of_step(builder: ir.IRBuilder, kind: Kind, address: ir.Value) -> list[list[ir.Value]]:
    """Return the 16-bit weights of four inputs: for both pairs of inputs, both halves of the tile."""
    if kind is Q4:
        packed = [load(builder, address, half * 16, BYTES_16) for half in range(HALVES)]
        words = [builder.zext(vector, WORDS_16) for vector in packed]
        low = [builder.and_(word, ir.Constant(WORDS_16, [15] * 16)) for word in words]
        return [low, [builder.lshr(word, ir.Constant(WORDS_16, [4] * 16)) for word in words]]
    packed = [load(builder, address, place * 16, BYTES_16) for place in range(2 * HALVES)]
    words = [builder.sext(vector, WORDS_16) for vector in packed]
    return [words[:HALVES], words[HALVES:]]


def widened_weights(builder: ir.IRBuilder, address: ir.Value) -> list[list[ir.Value]]:
    """Return what `weights_of_step` returns, from a panel."""
    return [
        [load(builder, address, 64 * pair + 32 * half, WORDS_16) for half in range(HALVES)] for pair in (0, 1)
    ]


def add_group(
    builder: ir.IRBuilder, kind: Kind, tile: ir.Value, panel: ir.Value | None, num_steps: ir.Value,
    rows: list[tuple[ir.Value, ir.Value]], sums: list[ir.Value],
) -> list[ir.Value]:  # fmt: skip
    """Return the rows' sums with one more group: `rows` are the addresses of its activations and their scale.

    The weights are read from the panel where there is one. A loop whose length LLVM does not know: unrolled, it
    keeps all weights in registers: too few.
    """
    totals = [cgutils.alloca_once(builder, INTS_8) for _ in sums]

    def add_step(index: ir.Value, is_first: bool) -> None:
        if panel is None:
            weights = weights_of_step(builder, kind, _step(builder, tile, index, kind.weight_bytes))
        else:
            weights = widened_weights(builder, _step(builder, panel, index, PANEL_BYTES))
        for row, (inputs, _) in enumerate(rows):
            here = builder.add(inputs, builder.mul(index, I64(8)))
            for pair in (0, 1):
                two = builder.bitcast(spread(builder, load(builder, here, 4 * pair, I32)), WORDS_16)
                for half in range(HALVES):
                    place = totals[row * HALVES + half]
                    before = (
                        ir.Constant(INTS_8, [0] * LANES) if is_first and not pair else builder.load(place)
                    )
                    builder.store(add_pair_products(builder, before, weights[pair][half], two), place)

    add_step(I64(0), True)
    with cgutils.for_range_slice(builder, I64(1), num_steps, I64(1)) as (index, _):
        add_step(index, False)
    return _scaled(builder, kind, tile, rows, sums, [builder.load(place) for place in totals])


def _step(builder: ir.IRBuilder, address: ir.Value, index: ir.Value, group_bytes: int) -> ir.Value:
    return builder.add(address, builder.mul(index, I64(group_bytes // STEPS)))


def _scaled(
    builder: ir.IRBuilder, kind: Kind, tile: ir.Value, rows: list[tuple[ir.Value, ir.Value]],
    sums: list[ir.Value], totals: list[ir.Value],
) -> list[ir.Value]:  # fmt: skip
    done = list(sums)
    for half in range(HALVES):
        scales = [
            builder.fpext(
                load(builder, tile, kind.weight_bytes + (n * HALVES + half) * 16, HALFS_8), FLOATS_8
            )
            for n in range(kind.num_scales)
        ]
        for row, (_, factors) in enumerate(rows):
            place = row * HALVES + half
            scale = builder.fmul(scales[0], spread(builder, load(builder, factors, 0, F32)))
            done[place] = fused_add(builder, builder.sitofp(totals[place], FLOATS_8), scale, done[place])
            if kind.num_scales > 1:
                total = spread(builder, load(builder, factors, 4, F32))
                done[place] = fused_add(builder, scales[1], total, done[place])
    return done


def make_product(kind: Kind, num_rows: int, is_wide: bool = False) -> Any:
    """Return an intrinsic: one tile times `num_rows` rows of activations.

    product(tile, panel, inputs, factors, outputs, num_groups, num_steps, output_stride): addresses of the tile, of
    its widened weights (read if `is_wide`), of int16 activations [row, group, 32], of their float32 (scale, scaled
    sum) [row, group, 2], of float32 outputs. `num_steps` is STEPS, hidden from LLVM.
    """

    @intrinsic
    def product(
        context: Any,
        tile: Any,
        panel: Any,
        inputs: Any,
        factors: Any,
        outputs: Any,
        num_groups: Any,
        num_steps: Any,
        stride: Any,
    ) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            tile, panel, *rest = arguments
            _emit_product(builder, kind, num_rows, tile, panel if is_wide else None, *rest)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), codegen

    return product


def _emit_product(
    builder: ir.IRBuilder, kind: Kind, num_rows: int, tile: ir.Value, panel: ir.Value | None,
    inputs: ir.Value, factors: ir.Value, outputs: ir.Value,
    num_groups: ir.Value, num_steps: ir.Value, stride: ir.Value,
) -> None:  # fmt: skip
    zero = ir.Constant(FLOATS_8, [0.0] * LANES)
    sums = [cgutils.alloca_once(builder, FLOATS_8) for _ in range(num_rows * HALVES)]
    for place in sums:
        builder.store(zero, place)
    with cgutils.for_range(builder, num_groups) as loop:
        group = loop.index
        here = builder.add(tile, builder.mul(group, I64(kind.group_bytes)))
        wide = None if panel is None else builder.add(panel, builder.mul(group, I64(PANEL_BYTES)))
        rows = []
        for row in range(num_rows):
            index = builder.add(builder.mul(num_groups, I64(row)), group)
            rows.append(
                (
                    builder.add(inputs, builder.mul(index, I64(2 * GROUP))),
                    builder.add(factors, builder.mul(index, I64(8))),
                )
            )
        before = [builder.load(place) for place in sums]
        values = add_group(builder, kind, here, wide, num_steps, rows, before)
        for place, value in zip(sums, values, strict=True):
            builder.store(value, place)
    for row in range(num_rows):
        there = builder.add(outputs, builder.mul(stride, I64(4 * row)))
        for half in range(HALVES):
            store(builder, builder.load(sums[row * HALVES + half]), there, half * LANES * 4)


def make_widening(kind: Kind) -> Any:
    """Return an intrinsic, widen(tile, panel, num_groups, num_steps): write a tile's weights into a panel."""

    @intrinsic
    def widen(context: Any, tile: Any, panel: Any, num_groups: Any, num_steps: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _emit_widening(builder, kind, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return widen


def _emit_widening(
    builder: ir.IRBuilder, kind: Kind, tile: ir.Value, panel: ir.Value,
    num_groups: ir.Value, num_steps: ir.Value,
) -> None:  # fmt: skip
    with cgutils.for_range(builder, num_groups) as groups:
        here = builder.add(tile, builder.mul(groups.index, I64(kind.group_bytes)))
        there = builder.add(panel, builder.mul(groups.index, I64(PANEL_BYTES)))
        with cgutils.for_range(builder, num_steps) as steps:
            weights = weights_of_step(builder, kind, _step(builder, here, steps.index, kind.weight_bytes))
            target = _step(builder, there, steps.index, PANEL_BYTES)
            for n, vector in enumerate(half for pair in weights for half in pair):
                store(builder, vector, target, 32 * n)


PRODUCTS = {(kind, num_rows): make_product(kind, num_rows) for kind in (Q4, Q8) for num_rows in (1, 2, 4)}
WIDE_PRODUCTS = {kind: make_product(kind, WIDE_ROWS, is_wide=True) for kind in (Q4, Q8)}
WIDENINGS = {kind: make_widening(kind) for kind in (Q4, Q8)}
