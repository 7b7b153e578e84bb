"""Matrix products over 4-bit and 8-bit tiles, as LLVM vectors of eight that numba compiles.

Activations are 16-bit integers with one scale per group of 32, so the inner product of a group is exact
integer arithmetic, and the error is that of rounding to 16 bits: smaller than bfloat16's. A row's result
depends on nothing but that row: neither on the batch it is in nor on the number of threads.

    y_o = Σ_g  d_og · s_g · (Σ_i q_oi x_i)  +  m_og · (s_g Σ_i x_i)          w = d q + m,  activation = s x

The layout of the tiles is model/quant.py's.
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


def add_group(
    builder: ir.IRBuilder, kind: Kind, tile: ir.Value, num_steps: ir.Value,
    rows: list[tuple[ir.Value, ir.Value]], sums: list[ir.Value],
) -> list[ir.Value]:  # fmt: skip
    """Return the rows' sums with one more group: `rows` are the addresses of its activations and their scale.

    A loop whose length LLVM does not know: unrolled, it keeps all weights in registers: too few.
    """
    totals = [cgutils.alloca_once(builder, INTS_8) for _ in sums]
    for place in totals:
        builder.store(ir.Constant(INTS_8, [0] * LANES), place)
    with cgutils.for_range(builder, num_steps) as loop:
        step_bytes = I64(kind.weight_bytes // (GROUP // 4))
        weights = weights_of_step(builder, kind, builder.add(tile, builder.mul(loop.index, step_bytes)))
        for row, (inputs, _) in enumerate(rows):
            here = builder.add(inputs, builder.mul(loop.index, I64(8)))
            for pair in (0, 1):
                two = builder.bitcast(spread(builder, load(builder, here, 4 * pair, I32)), WORDS_16)
                for half in range(HALVES):
                    place = totals[row * HALVES + half]
                    builder.store(
                        add_pair_products(builder, builder.load(place), weights[pair][half], two), place
                    )
    return _scaled(builder, kind, tile, rows, sums, [builder.load(place) for place in totals])


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


def make_product(kind: Kind, num_rows: int) -> Any:
    """Return an intrinsic: one tile times `num_rows` rows of activations.

    product(tile, inputs, factors, outputs, num_groups, output_stride): addresses of the tile, of int16
    activations [row, group, 32], of their float32 (scale, scaled sum) [row, group, 2], of float32 outputs.
    """

    @intrinsic
    def product(
        context: Any,
        tile: Any,
        inputs: Any,
        factors: Any,
        outputs: Any,
        num_groups: Any,
        num_steps: Any,
        stride: Any,
    ) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _emit_product(builder, kind, num_rows, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), codegen

    return product


def _emit_product(
    builder: ir.IRBuilder, kind: Kind, num_rows: int, tile: ir.Value, inputs: ir.Value, factors: ir.Value,
    outputs: ir.Value, num_groups: ir.Value, num_steps: ir.Value, stride: ir.Value,
) -> None:  # fmt: skip
    zero = ir.Constant(FLOATS_8, [0.0] * LANES)
    sums = [cgutils.alloca_once(builder, FLOATS_8) for _ in range(num_rows * HALVES)]
    for place in sums:
        builder.store(zero, place)
    with cgutils.for_range(builder, num_groups) as loop:
        group = loop.index
        here = builder.add(tile, builder.mul(group, I64(kind.group_bytes)))
        rows = []
        for row in range(num_rows):
            index = builder.add(builder.mul(num_groups, I64(row)), group)
            rows.append(
                (
                    builder.add(inputs, builder.mul(index, I64(2 * GROUP))),
                    builder.add(factors, builder.mul(index, I64(8))),
                )
            )
        values = add_group(builder, kind, here, num_steps, rows, [builder.load(place) for place in sums])
        for place, value in zip(sums, values, strict=True):
            builder.store(value, place)
    for row in range(num_rows):
        there = builder.add(outputs, builder.mul(stride, I64(4 * row)))
        for half in range(HALVES):
            store(builder, builder.load(sums[row * HALVES + half]), there, half * LANES * 4)


PRODUCTS = {
    (kind.name, num_rows): make_product(kind, num_rows) for kind in (Q4, Q8) for num_rows in (1, 2, 4)
}
