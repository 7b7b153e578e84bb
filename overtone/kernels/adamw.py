"""An optimiser's step as one compiled function: the gradient's norm, then everything else in one go over memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from overtone.kernels.threads import finish_some, take_some, wait_until_done
from overtone.kernels.views import Array, compiled, free_order, view_f32

SPAN = 1 << 14  # numbers in a piece: their sum of squares is one of float32
NUM_PHASES = 2


class Update(NamedTuple):
    """Addresses of `size` float32 numbers each, and what one step makes of them."""

    size: int
    parameters: int
    gradients: int
    first: int  # moment
    second: int
    sums: int  # [span] float32
    counters: int  # [NUM_PHASES, 8]
    beta_1: float
    beta_2: float
    eps: float
    longest: float  # gradients longer than this are shortened to it
    keep: float  # the share of the parameters that weight decay leaves
    rate: float  # corrected for the first moment's beginning at zero
    root: float  # what corrects the second moment's root


@free_order
def square_sum(x: Array) -> float:
    """Return Σ x²."""
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i] * x[i]
    return total


@free_order
def move(p: Array, g: Array, m: Array, v: Array, factor: float, update: Update) -> None:
    """Move parameters by their gradients, which become zeros."""
    factor, beta_1, beta_2 = np.float32(factor), np.float32(update.beta_1), np.float32(update.beta_2)
    rest_1, rest_2 = np.float32(1 - update.beta_1), np.float32(1 - update.beta_2)
    keep, rate = np.float32(update.keep), np.float32(update.rate)
    root, eps = np.float32(update.root), np.float32(update.eps)
    for i in range(len(p)):
        gradient = g[i] * factor
        first = beta_1 * m[i] + rest_1 * gradient
        second = beta_2 * v[i] + rest_2 * gradient * gradient
        p[i] = p[i] * keep - rate * first / (np.sqrt(second) * root + eps)
        m[i], v[i], g[i] = first, second, np.float32(0)


@compiled
def total_norm(update: Update, num_spans: int) -> float:
    """Return the gradient's length, summed in one fixed order."""
    total, sums = np.float64(0), view_f32(update.sums, num_spans)
    for span in range(num_spans):
        total += np.float64(sums[span])
    return np.sqrt(total)


@njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, cache=True)
def run_update(thread: int, update: Update) -> float:
    """Take the step; return the gradient's length before it was shortened.

    Every thread of a team calls this; the counters are zero before.
    """
    num_spans = -(-update.size // SPAN)
    span = take_some(update.counters, 0, 1)
    while span < num_spans:
        at, length = 4 * span * SPAN, min(SPAN, update.size - span * SPAN)
        view_f32(update.sums, num_spans)[span] = square_sum(view_f32(update.gradients + at, length))
        finish_some(update.counters, 0, 1)
        span = take_some(update.counters, 0, 1)
    wait_until_done(update.counters, 0, num_spans)
    norm = total_norm(update, num_spans)
    factor = update.longest / norm if norm > update.longest else 1.0
    span = take_some(update.counters, 1, 1)
    while span < num_spans:
        at, length = 4 * span * SPAN, min(SPAN, update.size - span * SPAN)
        move(
            view_f32(update.parameters + at, length),
            view_f32(update.gradients + at, length),
            view_f32(update.first + at, length),
            view_f32(update.second + at, length),
            factor,
            update,
        )
        finish_some(update.counters, 1, 1)
        span = take_some(update.counters, 1, 1)
    wait_until_done(update.counters, 1, num_spans)
    return norm
