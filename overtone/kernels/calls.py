"""Calls from one compiled function into another that numba must not compile anew for every caller."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

from llvmlite import ir
from numba import cfunc, types

from overtone.kernels.llvm import I64, intrinsic


def separately(function: Callable[..., None]) -> Any:
    """Compile a function of integers by itself. Its `address` is what its `caller` takes."""
    count = len(signature(function).parameters)
    return cfunc(types.void(*[types.int64] * count), cache=True, error_model="numpy")(function)


def caller(callee: Any) -> Any:
    """Return call(address, …) for a function that was compiled separately, with that function's own parameters.

    The address changes from process to process, so it is handed over. Too few or too many arguments are an error
    when the caller is compiled: by address alone, they would be read from whatever lies there.
    """
    names = list(signature(callee._pyfunc).parameters)
    made: dict[str, Any] = {}
    exec(CALL.format(name=callee._pyfunc.__name__, names=", ".join(names)), {"prepare": _prepare_call}, made)
    return intrinsic(made[f"call_{callee._pyfunc.__name__}"])


CALL = """
def call_{name}(context, address, {names}):
    return prepare([{names}])
"""


def _prepare_call(given: list[Any]) -> tuple[Any, Any]:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I64] * len(given))
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * (len(given) + 1)), codegen


@intrinsic
def opaque(context: Any, number: Any) -> Any:
    """Return a whole number as one that numba does not know: it compiles a function anew for every constant."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return context.cast(builder, arguments[0], number, types.int64)

    return types.int64(number), codegen
