"""Memory as kernels see it, and how they are compiled.

Memory is handed over as addresses, and functions look at it through `floats` and its like: numba compiles
integers many times faster than tuples of arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, cfunc, njit, types

from overtone.kernels.lanes import as_floats, as_words, power_of_two

Array = np.ndarray[Any, Any]

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


@free_order
def exp(x: float) -> float:
    """e^x in float32, within two units in the last place (Cephes): a formula that LLVM runs eight wide."""
    x = min(max(x, np.float32(-87)), np.float32(88))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = p * r + np.float32(c)
    return (p * r * r + r + np.float32(1)) * power_of_two(np.int32(n))
