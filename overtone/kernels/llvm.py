"""LLVM code for vectors of eight: what the kernels' intrinsics are written with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba.extending
from llvmlite import ir
from numba.core import cgutils

LANES = 8
intrinsic: Any = numba.extending.intrinsic  # its type takes the context for an argument of the calls
I8, I16, I32, I64 = map(ir.IntType, (8, 16, 32, 64))
F16 = ir.HalfType()
F32 = ir.FloatType()
I16_8, I32_8, F16_8, F32_8 = (ir.VectorType(lane, LANES) for lane in (I16, I32, F16, F32))


def load(builder: ir.IRBuilder, address: ir.Value, offset: ir.Value | int, kind: ir.Type) -> ir.Value:
    """Load a value of any type from an integer address, aligned or not."""
    where = builder.add(address, I64(offset) if isinstance(offset, int) else offset)
    value = builder.load(builder.inttoptr(where, kind.as_pointer()))
    value.align = 1
    return value


def store(builder: ir.IRBuilder, value: ir.Value, address: ir.Value, offset: int) -> None:
    """Store a value at an integer address, aligned or not."""
    where = builder.inttoptr(builder.add(address, I64(offset)), value.type.as_pointer())
    builder.store(value, where).align = 1


def broadcast(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """Return a vector of eight times the same value."""
    empty = ir.Constant(ir.VectorType(value.type, LANES), ir.Undefined)
    first = builder.insert_element(empty, value, I32(0))
    return builder.shuffle_vector(first, empty, ir.Constant(I32_8, [0] * LANES))


def fused_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """Return a b + c, rounded once."""
    signature = ir.FunctionType(F32_8, [F32_8] * 3)
    return builder.call(
        cgutils.get_or_insert_function(builder.module, signature, "llvm.fma.v8f32"), [a, b, c]
    )


def prefetch(builder: ir.IRBuilder, address: ir.Value) -> None:
    """Ask for a cache line that will be read soon; any address is fine."""
    pointer = ir.IntType(8).as_pointer()
    signature = ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    builder.call(function, [builder.inttoptr(address, pointer), I32(0), I32(3), I32(1)])


def returning(emit: Callable[..., ir.Value]) -> Callable[..., Any]:
    """Return numba's code generator for an intrinsic whose value `emit` returns."""
    return lambda context, builder, signature, arguments: emit(builder, *arguments)


def silent(emit: Callable[..., None]) -> Callable[..., Any]:
    """Return numba's code generator for an intrinsic that returns nothing."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        emit(builder, *arguments)
        return context.get_dummy_value()

    return codegen
