"""Memory as kernels see it, and how they are compiled.

Memory is handed over as addresses, and functions look at it through `view_f32` and its like: numba compiles
integers many times faster than tuples of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types  # type: ignore[attr-defined]

from overtone.kernels.llvm import F16, F32, I8, I32, intrinsic, load, returning

Array = np.ndarray[Any, Any]

CACHE_LINE = 64  # bytes

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
INNER: dict[str, Any] = OPTIONS | {"no_cpython_wrapper": True}
entry_point = njit(cache=True, **OPTIONS)
"""A function that Python calls, kept on the disk with all that it calls."""
compiled = njit(**INNER)
"""A function that other compiled functions call."""
free_order = njit(fastmath={"reassoc", "contract", "arcp", "nsz"}, **INNER)
"""For loops that LLVM may sum in lanes: in another order than written, but always in the same."""


def _pointer_to(kind: types.Type) -> Any:
    """Return an intrinsic that turns an address into a pointer, for `carray`."""

    @intrinsic
    def pointer(context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), codegen

    return pointer


_as_f32, _as_i64 = map(_pointer_to, (types.float32, types.int64))


@compiled
def view_f32(address: int, length: int) -> Array:
    """Look at float32 numbers."""
    return carray(_as_f32(address), (length,))


@compiled
def view_i64(address: int, length: int) -> Array:
    """Look at int64 numbers."""
    return carray(_as_i64(address), (length,))


@compiled
def read_i64(address: int, index: int) -> int:
    """Return one of a row of int64 numbers."""
    return view_i64(address, index + 1)[index]


def _emit_read_f16(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.fpext(load(builder, address, 0, F16), F32)


def _emit_read_i8(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.sext(load(builder, address, 0, I8), I32)


@intrinsic
def read_f16(context: Any, address: Any) -> Any:
    """Return one float16 number as float32."""
    return types.float32(types.int64), returning(_emit_read_f16)


@intrinsic
def read_i8(context: Any, address: Any) -> Any:
    """Return one signed byte."""
    return types.int32(types.int64), returning(_emit_read_i8)


def aligned_zeros(shape: tuple[int, ...], dtype: type[np.generic]) -> Array:
    """Return zeros that begin with a cache line."""
    return _aligned(np.zeros, shape, dtype)


def aligned_empty(shape: tuple[int, ...], dtype: type[np.generic]) -> Array:
    """Return memory as it is found, beginning with a cache line."""
    return _aligned(np.empty, shape, dtype)


def _aligned(allocate: Callable[..., Array], shape: tuple[int, ...], dtype: type[np.generic]) -> Array:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = allocate(size + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def addresses(arrays: Mapping[str, Array]) -> dict[str, int]:
    """Return where arrays lie, by name: what the kernels' tuples are filled with."""
    assert all(array.flags.c_contiguous for array in arrays.values())
    return {name: array.ctypes.data for name, array in arrays.items()}
