"""Calls by address have the callee's own parameters: a wrong count is noticed before anything is called."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from overtone.kernels.calls import caller, separately
from overtone.kernels.views import view_i64


@separately
def store_sum(a: int, b: int, target: int) -> None:
    view_i64(target, 1)[0] = a + b


call_store_sum = caller(store_sum)


def test_a_function_is_called_by_its_address() -> None:
    target = np.zeros(1, np.int64)
    njit(lambda address, target: call_store_sum(address, 3, 4, target))(store_sum.address, target.ctypes.data)
    assert target[0] == 7


def test_too_few_or_too_many_arguments_do_not_compile() -> None:
    with pytest.raises((TypingError, TypeError)):
        njit(lambda address, target: call_store_sum(address, 3, target))(store_sum.address, 0)
    with pytest.raises((TypingError, TypeError)):
        njit(lambda address, target: call_store_sum(address, 3, 4, 5, target))(store_sum.address, 0)
