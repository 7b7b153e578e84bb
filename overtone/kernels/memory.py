"""Memory as kernels see it, and how they are compiled.

Memory is handed over as addresses, and functions look at it through `floats` and its like: numba compiles
integers many times faster than tuples of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types

from overtone.kernels.lanes import as_floats, as_words

Array = np.ndarray[Any, Any]

CACHE_LINE = 64  # bytes

OPTIONS = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
compiled = njit(**OPTIONS)
free_order = njit(fastmath={"reassoc", "contract", "arcp", "nsz"}, **OPTIONS)
"""For loops that LLVM may sum in lanes: in another order than written, but always in the same."""


def separately(num_arguments: int) -> Callable[[Callable[..., None]], Any]:
    """Compile a function of integers by itself; its `address` is what `lanes.call` takes."""
    return cfunc(types.void(*[types.int64] * num_arguments), cache=True, error_model="numpy")


@compiled
def floats(address: int, length: int) -> Array:
    """Look at float32 numbers."""
    return carray(as_floats(address), (length,))


@compiled
def words(address: int, length: int) -> Array:
    """Look at int64 numbers."""
    return carray(as_words(address), (length,))


@compiled
def word(address: int, index: int) -> int:
    """Return one of a row of int64 numbers."""
    return words(address, index + 1)[index]


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
