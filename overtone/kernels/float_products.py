"""Products of a few dozen rows with a frozen matrix, in float32.

Libraries are made for large products and spend half of a small one on packing and on sending threads out and
home. Here a panel of 16 columns is packed into the first cache and meets all rows there, six at a time: twelve
vectors of sums in registers. Each row's sums run in one fixed order, so its result does not depend on the rows
beside it.

Everything takes integer addresses and strides in bytes. Sizes are multiples of 16; numbers of rows are any.
Rows lie an odd number of cache lines apart (`padded`): at a power of two, as widths like to be, neighbouring rows
would drive one another out of the cache, and the product would run at vector its speed.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from overtone.kernels.calls import separately
from overtone.kernels.llvm import F32, F32_8, I64, LANES, broadcast, fused_add, intrinsic, load, store
from overtone.kernels.panels import VECTORS, fill_from_columns, fill_from_rows
from overtone.kernels.tiles import PANEL
from overtone.kernels.views import compiled

ROWS = 6  # that are computed together: 12 of the 16 vector registers
PANEL_DEPTH = 256  # of a packed panel: 16 KB, half of the first cache
UNROLL = 4


def padded(width: int) -> int:
    """Return how many numbers lie between the beginnings of two rows of activations."""
    return PANEL * (width // PANEL | 1)


def _make_panel_product(num_rows: int, rows_are_contiguous: bool) -> Any:
    """Return an intrinsic: y[r, 0:16] (+)= Σ_k x[r, k] w[k, 0:16] for `num_rows` rows.

    `stride_x` leads to the next row where a row's numbers are neighbours, else to the next k, where rows are.
    """

    @intrinsic
    def product(
        context: Any,
        x: Any,
        stride_x: Any,
        w: Any,
        stride_w: Any,
        y: Any,
        stride_y: Any,
        depth: Any,
        adds: Any,
    ) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            _emit_panel_product(builder, num_rows, rows_are_contiguous, *arguments)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), codegen

    return product


def _emit_panel_product(
    builder: ir.IRBuilder,
    num_rows: int,
    rows_are_contiguous: bool,
    x: ir.Value,
    stride_x: ir.Value,
    w: ir.Value,
    stride_w: ir.Value,
    y: ir.Value,
    stride_y: ir.Value,
    depth: ir.Value,
    adds: ir.Value,
) -> None:
    sums = [[cgutils.alloca_once(builder, F32_8) for _ in range(VECTORS)] for _ in range(num_rows)]
    rows_y = [builder.add(y, builder.mul(stride_y, I64(row))) for row in range(num_rows)]
    for row, places in enumerate(sums):
        for vector, place in enumerate(places):
            builder.store(ir.Constant(F32_8, [0.0] * LANES), place)
            with builder.if_then(builder.icmp_signed("!=", adds, I64(0))):
                builder.store(load(builder, rows_y[row], 32 * vector, F32_8), place)

    def add_products(k: ir.Value) -> None:
        weights = [
            load(builder, builder.add(w, builder.mul(k, stride_w)), 32 * vector, F32_8)
            for vector in range(VECTORS)
        ]
        for row, places in enumerate(sums):
            if rows_are_contiguous:
                at = builder.add(builder.add(x, builder.mul(stride_x, I64(row))), builder.mul(k, I64(4)))
            else:
                at = builder.add(builder.add(x, builder.mul(stride_x, k)), I64(4 * row))
            factor = broadcast(builder, load(builder, at, 0, F32))
            for vector, place in enumerate(places):
                builder.store(fused_add(builder, factor, weights[vector], builder.load(place)), place)

    whole = builder.udiv(depth, I64(UNROLL))
    with cgutils.for_range(builder, whole) as loop:
        for n in range(UNROLL):
            add_products(builder.add(builder.mul(loop.index, I64(UNROLL)), I64(n)))
    with cgutils.for_range(builder, builder.urem(depth, I64(UNROLL))) as loop:
        add_products(builder.add(builder.mul(whole, I64(UNROLL)), loop.index))
    for row, places in enumerate(sums):
        for vector, place in enumerate(places):
            store(builder, builder.load(place), rows_y[row], 32 * vector)


_r1, _r2, _r3, _r4, _r5, _r6 = (_make_panel_product(n, True) for n in range(1, ROWS + 1))
_c1, _c2, _c3, _c4, _c5, _c6 = (_make_panel_product(n, False) for n in range(1, ROWS + 1))


@compiled
def rows_together(left: int) -> int:
    """Return how many of the rows left are computed next: six, or the last ones in two like parts.

    Fewer than four are too few sums to keep both multipliers busy.
    """
    if left >= 2 * ROWS or left == ROWS:
        return ROWS
    return left if left < ROWS else (left + 1) // 2


@compiled
def _multiply_panel(
    x: int, stride_x: int, num_rows: int, w: int, stride_w: int, y: int, stride_y: int, depth: int, adds: int
) -> None:
    """y[r, 0:16] (+)= Σ_k x[r, k] w[k, 0:16]; `adds` is 0 where y is to be overwritten."""
    row = 0
    while row < num_rows:
        a = x + row * stride_x
        b = y + row * stride_y
        count = rows_together(num_rows - row)
        if count == 6:
            _r6(a, stride_x, w, stride_w, b, stride_y, depth, adds)
        elif count == 5:
            _r5(a, stride_x, w, stride_w, b, stride_y, depth, adds)
        elif count == 4:
            _r4(a, stride_x, w, stride_w, b, stride_y, depth, adds)
        elif count == 3:
            _r3(a, stride_x, w, stride_w, b, stride_y, depth, adds)
        elif count == 2:
            _r2(a, stride_x, w, stride_w, b, stride_y, depth, adds)
        else:
            _r1(a, stride_x, w, stride_w, b, stride_y, depth, adds)
        row += count


@separately
def multiply_panel(
    x: int, stride_x: int, num_rows: int, w: int, stride_w: int, y: int, stride_y: int, depth: int, adds: int
) -> None:
    """y[r, 0:16] (+)= Σ_k x[r, k] w[k, 0:16]; `adds` is 0 where y is to be overwritten."""
    _multiply_panel(x, stride_x, num_rows, w, stride_w, y, stride_y, depth, adds)


@separately
def add_transposed(
    x: int, stride_x: int, num_rows: int, w: int, stride_w: int, y: int, stride_y: int, depth: int
) -> None:
    """y[r, 0:16] += Σ_k x[k, r] w[k, 0:16]."""
    row = 0
    while row < num_rows:
        a = x + 4 * row
        b = y + row * stride_y
        count = rows_together(num_rows - row)
        if count == 6:
            _c6(a, stride_x, w, stride_w, b, stride_y, depth, 1)
        elif count == 5:
            _c5(a, stride_x, w, stride_w, b, stride_y, depth, 1)
        elif count == 4:
            _c4(a, stride_x, w, stride_w, b, stride_y, depth, 1)
        elif count == 3:
            _c3(a, stride_x, w, stride_w, b, stride_y, depth, 1)
        elif count == 2:
            _c2(a, stride_x, w, stride_w, b, stride_y, depth, 1)
        else:
            _c1(a, stride_x, w, stride_w, b, stride_y, depth, 1)
        row += count


@separately
def multiply_by_rows(
    x: int,
    stride_x: int,
    num_rows: int,
    kind: int,
    w: int,
    depth: int,
    stride_w: int,
    y: int,
    stride_y: int,
    adds: int,
    panel: int,
) -> None:
    """y[t, 0:16] (+)= Σ_i x[t, i] w[o, i] for 16 rows o of a matrix. `panel` has room for [PANEL_DEPTH, 16]."""
    first = 0
    while first < depth:
        size = min(PANEL_DEPTH, depth - first)
        fill_from_rows(kind, w, stride_w, first, size, panel)
        _multiply_panel(x + 4 * first, stride_x, num_rows, panel, 4 * PANEL, y, stride_y, size, adds + first)
        first += size


@separately
def multiply_by_columns(
    x: int,
    stride_x: int,
    num_rows: int,
    kind: int,
    w: int,
    column: int,
    depth: int,
    stride_w: int,
    y: int,
    stride_y: int,
    adds: int,
    panel: int,
) -> None:
    """y[t, 0:16] (+)= Σ_o x[t, o] w[o, i] for 16 columns i of a matrix. `panel` has room for [PANEL_DEPTH, 16]."""
    first = 0
    while first < depth:
        size = min(PANEL_DEPTH, depth - first)
        fill_from_columns(kind, w, stride_w, column, first, size, panel)
        _multiply_panel(x + 4 * first, stride_x, num_rows, panel, 4 * PANEL, y, stride_y, size, adds + first)
        first += size


ADDRESSES = {
    kernel.__name__: kernel.address
    for kernel in (multiply_by_rows, multiply_by_columns, multiply_panel, add_transposed)
}
