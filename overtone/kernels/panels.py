"""Sixteen columns of a right-hand matrix as a panel: [depth, 16] float32 that every row of the left one meets.

The matrix may be float32 numbers in rows, or the 4-bit or 8-bit tiles of kernels/tiles.py: these are a seventh (a
third) of the numbers to fetch from memory, and become exactly the numbers that model.safetensors holds. A matrix'
kind is the bytes of a tile's quant block, or FLOATS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from overtone.kernels.llvm import (
    F16_8,
    F32_8,
    I16_8,
    I32,
    I32_8,
    I64,
    LANES,
    fused_add,
    intrinsic,
    load,
    store,
)
from overtone.kernels.tiles import PANEL, Q4, Q8, QUANT_BLOCK, TILE, Kind
from overtone.kernels.views import compiled

VECTORS = PANEL // LANES
FLOATS = 0  # the kinds of matrices
Q4_BYTES = Q4.block_bytes
Q8_BYTES = Q8.block_bytes


def _emit_pack_columns(
    builder: ir.IRBuilder, source: ir.Value, stride: ir.Value, panel: ir.Value, depth: ir.Value
) -> None:
    with cgutils.for_range(builder, depth) as loop:
        here = builder.add(source, builder.mul(loop.index, stride))
        there = builder.add(panel, builder.mul(loop.index, I64(4 * PANEL)))
        for vector in range(VECTORS):
            store(builder, load(builder, here, 32 * vector, F32_8), there, 32 * vector)


def _emit_pack_rows(
    builder: ir.IRBuilder, source: ir.Value, stride: ir.Value, panel: ir.Value, num_eights: ir.Value
) -> None:
    with cgutils.for_range(builder, num_eights) as loop:
        here = builder.add(source, builder.mul(loop.index, I64(4 * LANES)))
        there = builder.add(panel, builder.mul(loop.index, I64(4 * LANES * PANEL)))
        for vector in range(VECTORS):
            rows = [
                load(builder, builder.add(here, builder.mul(stride, I64(LANES * vector + row))), 0, F32_8)
                for row in range(LANES)
            ]
            for k, column in enumerate(transpose(builder, rows)):
                store(builder, column, there, 4 * PANEL * k + 32 * vector)


def transpose(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Transpose 8 × 8 numbers in three rounds of shuffles: pairs, fours, halves."""

    def shuffle(a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, LANES), lanes))

    low, high = [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]
    pairs = [(shuffle(a, b, low), shuffle(a, b, high)) for a, b in zip(rows[::2], rows[1::2], strict=True)]
    even, odd = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
    fours = [
        [shuffle(a, b, lanes) for a, b in zip(first, second, strict=True) for lanes in (even, odd)]
        for first, second in (pairs[:2], pairs[2:])
    ]
    left, right = [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]
    return [shuffle(a, b, lanes) for lanes in (left, right) for a, b in zip(*fours, strict=True)]


def _packer(emit: Any) -> Any:
    @intrinsic
    def pack(context: Any, source: Any, stride: Any, panel: Any, count: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            emit(builder, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return pack


pack_rows = _packer(_emit_pack_rows)
"""pack_rows(source, stride, panel, n): panel[k, o] = source[o, k] for 16 rows o and 8 n numbers k."""
pack_columns = _packer(_emit_pack_columns)
"""pack_columns(source, stride, panel, n): panel[o, i] = source[o, i] for n rows o and 16 columns i."""


# Tiles


def _emit_unpack_rows(
    kind: Kind, builder: ir.IRBuilder, tile: ir.Value, panel: ir.Value, num_blocks: ir.Value
) -> None:
    with cgutils.for_range(builder, num_blocks) as blocks:
        block = builder.add(tile, builder.mul(blocks.index, I64(kind.block_bytes)))
        there = builder.add(panel, builder.mul(blocks.index, I64(4 * QUANT_BLOCK * PANEL)))
        for vector in range(VECTORS):
            scales = _scales(kind, builder, block, vector)
            for step in range(QUANT_BLOCK // _inputs_of_step(kind)):
                for n, values in enumerate(_weights(kind, builder, block, I64(0), step, vector, scales)):
                    row = step * _inputs_of_step(kind) + n
                    store(builder, values, there, 4 * (row * PANEL + vector * LANES))


def _emit_unpack_columns(
    kind: Kind,
    builder: ir.IRBuilder,
    block: ir.Value,
    half: ir.Value,
    stride: ir.Value,
    panel: ir.Value,
    num_tiles: ir.Value,
) -> None:
    begin = builder.mul(half, I64(kind.weight_bytes // 2))
    with cgutils.for_range(builder, num_tiles) as tiles:
        here = builder.add(block, builder.mul(tiles.index, stride))
        there = builder.add(panel, builder.mul(tiles.index, I64(4 * TILE * PANEL)))
        steps = LANES // _inputs_of_step(kind)  # for eight inputs
        for vector in range(VECTORS):
            scales = _scales(kind, builder, here, vector)
            for eight in range(PANEL // LANES):
                by_input = [
                    values
                    for step in range(eight * steps, (eight + 1) * steps)
                    for values in _weights(kind, builder, here, begin, step, vector, scales)
                ]
                for lane, values in enumerate(transpose(builder, by_input)):
                    store(builder, values, there, 4 * ((vector * LANES + lane) * PANEL + eight * LANES))


def _inputs_of_step(kind: Kind) -> int:
    return 4 if kind is Q4 else 2


def _scales(kind: Kind, builder: ir.IRBuilder, block: ir.Value, vector: int) -> list[ir.Value]:
    """Return the scales, and minima where there are, of eight of a tile's outputs."""
    places = [kind.weight_bytes + 2 * (n * TILE + vector * LANES) for n in range(kind.num_scales)]
    return [builder.fpext(load(builder, block, place, F16_8), F32_8) for place in places]


def _weights(
    kind: Kind,
    builder: ir.IRBuilder,
    block: ir.Value,
    begin: ir.Value,
    step: int,
    vector: int,
    scales: list[ir.Value],
) -> list[ir.Value]:
    """Return the float32 weights of a step's inputs, one after the other, for eight outputs."""
    place = builder.add(begin, I64(16 * (step * VECTORS + vector)))
    words = load(builder, block, place, I16_8)

    def shifted(shift: Callable[..., ir.Value], values: ir.Value, bits: int) -> ir.Value:
        return shift(values, ir.Constant(I32_8, [bits] * LANES))

    if kind is Q4:
        wide = builder.zext(words, I32_8)
        nibbles = [shifted(builder.and_, shifted(builder.lshr, wide, bits), 15) for bits in (0, 8, 4, 12)]
        return [fused_add(builder, builder.uitofp(q, F32_8), *scales) for q in nibbles]
    wide = builder.sext(words, I32_8)
    low = shifted(builder.ashr, shifted(builder.shl, wide, 24), 24)
    return [builder.fmul(builder.sitofp(q, F32_8), scales[0]) for q in (low, shifted(builder.ashr, wide, 8))]


def _unpacker(emit: Callable[..., None], kind: Kind, num_arguments: int) -> Any:
    signature = types.void(*[types.int64] * num_arguments)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        emit(kind, builder, *arguments)
        return context.get_dummy_value()

    if num_arguments == 3:

        @intrinsic
        def unpack_rows(context: Any, tile: Any, panel: Any, num_blocks: Any) -> Any:
            return signature, codegen

        return unpack_rows

    @intrinsic
    def unpack_columns(context: Any, block: Any, half: Any, stride: Any, panel: Any, num_tiles: Any) -> Any:
        return signature, codegen

    return unpack_columns


_unpack_rows_q4, _unpack_rows_q8 = (_unpacker(_emit_unpack_rows, kind, 3) for kind in (Q4, Q8))
_unpack_columns_q4, _unpack_columns_q8 = (_unpacker(_emit_unpack_columns, kind, 5) for kind in (Q4, Q8))


# Either


@compiled
def bytes_of_row(kind: int, num_inputs: int) -> int:
    """Return what a row of a matrix takes; of tiles, a sixteenth of a row of tiles."""
    return num_inputs // QUANT_BLOCK * (kind // TILE) if kind else 4 * num_inputs


@compiled
def fill_from_rows(kind: int, rows: int, stride: int, first: int, size: int, panel: int) -> None:
    """panel[k, o] = w[o, first + k] for the 16 rows o that begin at `rows`. Of tiles, whole quant blocks."""
    if kind == Q4_BYTES:
        _unpack_rows_q4(rows + first // QUANT_BLOCK * Q4_BYTES, panel, size // QUANT_BLOCK)
    elif kind == Q8_BYTES:
        _unpack_rows_q8(rows + first // QUANT_BLOCK * Q8_BYTES, panel, size // QUANT_BLOCK)
    else:
        pack_rows(rows + 4 * first, stride, panel, size // LANES)


@compiled
def fill_from_columns(kind: int, w: int, stride: int, column: int, first: int, size: int, panel: int) -> None:
    """panel[o, i] = w[first + o, column + i] for 16 columns i. Of tiles, whole ones."""
    if kind:
        block = w + first * stride + column // QUANT_BLOCK * kind
        half = column % QUANT_BLOCK // PANEL
        if kind == Q4_BYTES:
            _unpack_columns_q4(block, half, TILE * stride, panel, size // TILE)
        else:
            _unpack_columns_q8(block, half, TILE * stride, panel, size // TILE)
    else:
        pack_columns(w + first * stride + 4 * column, stride, panel, size)
