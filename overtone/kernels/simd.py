"""Vector loops over rows of numbers, and the few machine words that threads need to work as a team.

Everything takes integer addresses. Lengths are multiples of eight, and sums run in one fixed order, so a
result is the same whoever computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from overtone.kernels.llvm import (
    F16_8,
    F32,
    F32_8,
    I16_8,
    I32,
    I32_8,
    I64,
    LANES,
    broadcast,
    fused_add,
    intrinsic,
    load,
    returning,
    silent,
    store,
)

CHAINS = 4  # independent sums: an addition takes four cycles, and two can start in each


def _zeros(builder: ir.IRBuilder, count: int) -> list[ir.Value]:
    places = [cgutils.alloca_once(builder, F32_8) for _ in range(count)]
    for place in places:
        builder.store(ir.Constant(F32_8, [0.0] * LANES), place)
    return places


def _f16s_as_floats(builder: ir.IRBuilder, address: ir.Value, lane: int = 0) -> ir.Value:
    return builder.fpext(load(builder, address, 2 * lane, F16_8), F32_8)


def _floats(builder: ir.IRBuilder, address: ir.Value, lane: int = 0) -> ir.Value:
    return load(builder, address, 4 * lane, F32_8)


def _accumulate(builder: ir.IRBuilder, place: ir.Value, a: ir.Value, b: ir.Value) -> None:
    builder.store(fused_add(builder, a, b, builder.load(place)), place)


def _advance(builder: ir.IRBuilder, address: ir.Value, index: ir.Value, stride: int) -> ir.Value:
    return builder.add(address, builder.mul(index, I64(stride)))


def _emit_dot_f16(
    builder: ir.IRBuilder, f16s: ir.Value, rows: list[ir.Value], length: ir.Value
) -> list[ir.Value]:
    """Return Σ f16s[i] floats[i] for each row of floats: the float16 numbers become floats once for all."""
    chains = [_zeros(builder, CHAINS) for _ in rows]
    wide = LANES * CHAINS

    def add_products(at: ir.Value, count: int) -> None:
        values = [_f16s_as_floats(builder, _advance(builder, f16s, at, 2), n * LANES) for n in range(count)]
        for row, places in zip(rows, chains, strict=True):
            here = _advance(builder, row, at, 4)
            for n, value in enumerate(values):
                _accumulate(builder, places[n], value, _floats(builder, here, n * LANES))

    with cgutils.for_range(builder, builder.udiv(length, I64(wide))) as loop:
        add_products(builder.mul(loop.index, I64(wide)), CHAINS)
    done = builder.mul(builder.udiv(length, I64(wide)), I64(wide))
    with cgutils.for_range(builder, builder.udiv(builder.sub(length, done), I64(LANES))) as loop:
        add_products(builder.add(done, builder.mul(loop.index, I64(LANES))), 1)
    return [_sum_lanes(builder, [builder.load(place) for place in places]) for places in chains]


def _sum_lanes(builder: ir.IRBuilder, chains: list[ir.Value]) -> ir.Value:
    total = builder.fadd(builder.fadd(chains[0], chains[1]), builder.fadd(chains[2], chains[3]))
    return _fold(builder, total, builder.fadd)


def _fold(
    builder: ir.IRBuilder, vector: ir.Value, combine: Callable[[ir.Value, ir.Value], ir.Value]
) -> ir.Value:
    """Combine a vector's eight lanes: halves, quarters, and the last two."""
    for distance in (4, 2, 1):
        lanes = [(lane + distance) % LANES for lane in range(LANES)]
        moved = builder.shuffle_vector(vector, vector, ir.Constant(I32_8, lanes))
        vector = combine(vector, moved)
    return builder.extract_element(vector, I32(0))


def _emit_round_block(
    builder: ir.IRBuilder, x: ir.Value, ints: ir.Value, factors: ir.Value, largest_int: ir.Value
) -> None:
    def on_all(name: str, vector: ir.Value) -> ir.Value:
        function = ir.FunctionType(F32_8, [F32_8])
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), [vector])

    def larger(a: ir.Value, b: ir.Value) -> ir.Value:  # of the bits, which keeps a NaN
        return builder.select(builder.icmp_signed(">", a, b), a, b)

    values = [_floats(builder, x, lane) for lane in range(0, 4 * LANES, LANES)]
    sizes = [builder.bitcast(on_all("llvm.fabs.v8f32", value), I32_8) for value in values]
    bits = _fold(builder, larger(larger(sizes[0], sizes[1]), larger(sizes[2], sizes[3])), larger)
    largest = builder.bitcast(bits, F32)
    is_zero = builder.fcmp_ordered("==", largest, F32(0.0))
    inverse = broadcast(builder, builder.select(is_zero, F32(0.0), builder.fdiv(largest_int, largest)))
    total = ir.Constant(I32_8, [0] * LANES)
    for n, value in enumerate(values):
        half_up = fused_add(builder, value, inverse, ir.Constant(F32_8, [0.5] * LANES))
        rounded = builder.fptosi(on_all("llvm.floor.v8f32", half_up), I32_8)
        total = builder.add(total, rounded)
        store(builder, builder.trunc(rounded, I16_8), ints, 2 * LANES * n)
    scale = builder.fdiv(largest, largest_int)
    store(builder, scale, factors, 0)
    store(builder, builder.fmul(scale, builder.sitofp(_fold(builder, total, builder.add), F32)), factors, 4)


def _emit_add_scaled(
    builder: ir.IRBuilder, floats: ir.Value, right: ir.Value, factor: ir.Value, length: ir.Value
) -> None:
    factors = broadcast(builder, factor)
    with cgutils.for_range(builder, builder.udiv(length, I64(LANES))) as loop:
        a = _advance(builder, right, loop.index, 4 * LANES)
        y = _advance(builder, floats, loop.index, 4 * LANES)
        store(builder, fused_add(builder, _floats(builder, a), factors, _floats(builder, y)), y, 0)


def _emit_clear(builder: ir.IRBuilder, floats: ir.Value, length: ir.Value) -> None:
    with cgutils.for_range(builder, builder.udiv(length, I64(LANES))) as loop:
        zeros = ir.Constant(F32_8, [0.0] * LANES)
        store(builder, zeros, _advance(builder, floats, loop.index, 4 * LANES), 0)


def _emit_to_f16(builder: ir.IRBuilder, f16s: ir.Value, floats: ir.Value, length: ir.Value) -> None:
    with cgutils.for_range(builder, builder.udiv(length, I64(LANES))) as loop:
        a = _advance(builder, f16s, loop.index, 2 * LANES)
        x = _advance(builder, floats, loop.index, 4 * LANES)
        store(builder, builder.fptrunc(load(builder, x, 0, F32_8), F16_8), a, 0)


def _emit_add_panel(
    builder: ir.IRBuilder,
    rows: list[tuple[ir.Value, ir.Value]],
    panel: ir.Value,
    stride: ir.Value,
    count: ir.Value,
) -> None:
    """`rows`: the addresses of the floats and of u."""
    chains = [_zeros(builder, CHAINS) for _ in rows]
    with cgutils.for_range(builder, count) as loop:
        here = builder.add(panel, builder.mul(loop.index, stride))
        values = [_f16s_as_floats(builder, here, n * LANES) for n in range(CHAINS)]
        for (_, u), places in zip(rows, chains, strict=True):
            factor = broadcast(builder, load(builder, _advance(builder, u, loop.index, 4), 0, F32))
            for value, place in zip(values, places, strict=True):
                _accumulate(builder, place, value, factor)
    for (floats, _), places in zip(rows, chains, strict=True):
        for n, place in enumerate(places):
            there = builder.add(floats, I64(4 * n * LANES))
            store(builder, builder.fadd(builder.load(place), load(builder, there, 0, F32_8)), there, 0)


def _emit_dot_f16_one(builder: ir.IRBuilder, f16s: ir.Value, floats: ir.Value, length: ir.Value) -> ir.Value:
    return _emit_dot_f16(builder, f16s, [floats], length)[0]


def _emit_dot_f16_three(
    builder: ir.IRBuilder,
    f16s: ir.Value,
    floats: ir.Value,
    stride_rows: ir.Value,
    length: ir.Value,
    sums: ir.Value,
    stride_sums: ir.Value,
) -> None:
    rows = [builder.add(floats, builder.mul(stride_rows, I64(row))) for row in range(3)]
    for row, total in enumerate(_emit_dot_f16(builder, f16s, rows, length)):
        store(builder, total, builder.add(sums, builder.mul(stride_sums, I64(row))), 0)


def _emit_add_panel_one(
    builder: ir.IRBuilder, floats: ir.Value, panel: ir.Value, stride: ir.Value, u: ir.Value, count: ir.Value
) -> None:
    _emit_add_panel(builder, [(floats, u)], panel, stride, count)


def _emit_add_panel_three(
    builder: ir.IRBuilder,
    floats: ir.Value,
    stride_rows: ir.Value,
    panel: ir.Value,
    stride: ir.Value,
    u: ir.Value,
    stride_u: ir.Value,
    count: ir.Value,
) -> None:
    offsets = [(builder.mul(stride_rows, I64(row)), builder.mul(stride_u, I64(row))) for row in range(3)]
    rows = [(builder.add(floats, to_row), builder.add(u, to_u)) for to_row, to_u in offsets]
    _emit_add_panel(builder, rows, panel, stride, count)


@intrinsic
def dot_f16(context: Any, f16s: Any, floats: Any, length: Any) -> Any:
    """Return Σ f16s[i] floats[i]."""
    return types.float32(types.int64, types.int64, types.int64), returning(_emit_dot_f16_one)


@intrinsic
def add_scaled(context: Any, floats: Any, right: Any, factor: Any, length: Any) -> Any:
    """floats[i] += factor right[i]."""
    signature = types.void(types.int64, types.int64, types.float32, types.int64)
    return signature, silent(_emit_add_scaled)


@intrinsic
def clear(context: Any, floats: Any, length: Any) -> Any:
    """floats[i] = 0."""
    return types.void(types.int64, types.int64), silent(_emit_clear)


@intrinsic
def to_f16(context: Any, f16s: Any, floats: Any, length: Any) -> Any:
    """f16s[i] = floats[i], rounded."""
    return types.void(types.int64, types.int64, types.int64), silent(_emit_to_f16)


@intrinsic
def add_panel(context: Any, floats: Any, panel: Any, stride: Any, u: Any, count: Any) -> Any:
    """floats[0:32] += Σ_n u[n] panel[n, 0:32]; the panel holds float16, its rows `stride` bytes apart."""
    return types.void(*[types.int64] * 5), silent(_emit_add_panel_one)


@intrinsic
def dot_f16_three(
    context: Any, f16s: Any, floats: Any, stride_rows: Any, length: Any, sums: Any, stride_sums: Any
) -> Any:
    """`dot_f16` for three rows of floats, `stride_rows` bytes apart; their sums go to memory."""
    return types.void(*[types.int64] * 6), silent(_emit_dot_f16_three)


@intrinsic
def add_panel_three(
    context: Any, floats: Any, stride_rows: Any, panel: Any, stride: Any, u: Any, stride_u: Any, count: Any
) -> Any:
    """`add_panel` for three rows of floats, `stride_rows` bytes apart, each with its own u."""
    return types.void(*[types.int64] * 7), silent(_emit_add_panel_three)


@intrinsic
def round_block(context: Any, x: Any, ints: Any, factors: Any, largest: Any) -> Any:
    """Round 32 numbers to 16-bit integers up to `largest`; `factors` are their scale and their scaled sum."""
    return types.void(*[types.int64] * 3, types.float32), silent(_emit_round_block)


@intrinsic
def power_of_two(context: Any, exponent: Any) -> Any:
    """Return 2^exponent as float32, for -126 … 127."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        biased = builder.add(arguments[0], I32(127))
        return builder.bitcast(builder.shl(biased, I32(23)), F32)

    return types.float32(types.int32), codegen
