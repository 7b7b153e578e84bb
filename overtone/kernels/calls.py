"""Calls from one compiled function into another that numba must not compile anew for every caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from overtone.kernels.llvm import I64


def separately(num_arguments: int) -> Callable[[Callable[..., None]], Any]:
    """Compile a function of integers by itself; its `address` is what `call` takes."""
    return cfunc(types.void(*[types.int64] * num_arguments), cache=True, error_model="numpy")


@intrinsic
def call(context: Any, address: Any, arguments: Any) -> Any:
    """Call the compiled function at an address with a tuple of integers.

    For large functions with many callers: numba would compile them anew into each, and into its callers'.
    """

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64] * len(arguments))
        parts = cgutils.unpack_tuple(builder, values[1], len(arguments))
        given = [
            context.cast(builder, part, one, types.int64) for part, one in zip(parts, arguments, strict=True)
        ]
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), given)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


@intrinsic
def opaque(context: Any, number: Any) -> Any:
    """Return a whole number as one that numba does not know: it compiles a function anew for every constant."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return context.cast(builder, arguments[0], number, types.int64)

    return types.int64(number), codegen
