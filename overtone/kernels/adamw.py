"""An optimiser's step as one compiled function: the gradient's norm, then everything else in one go over memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from overtone.kernels.calls import opaque
from overtone.kernels.threads import phase
from overtone.kernels.views import Array, compiled, entry_point, free_order, view_f32

CHUNK = 1 << 14  # numbers of one task: their sum of squares is one of float32
NUM_PHASES = 2


class Update(NamedTuple):
    """Addresses of `size` float32 numbers each, and what one step makes of them."""

    size: int
    parameters: int
    gradients: int
    first: int  # moment
    second: int
    sums: int  # [chunk] float32
    counters: int  # [NUM_PHASES, 8]
    beta_1: float
    beta_2: float
    eps: float
    longest: float  # gradients longer than this are shortened to it
    keep: float  # the share of the parameters that weight decay leaves
    rate: float  # corrected for the first moment's beginning at zero
    root: float  # what corrects the second moment's root


@free_order
def square_sum(x: Array) -> np.float32:
    """Return Σ x²."""
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i] * x[i]
    return total


@free_order
def move(p: Array, g: Array, m: Array, v: Array, factor: float, update: Update) -> None:
    """Move parameters by their gradients, which become zeros."""
    shortening = np.float32(factor)
    beta_1 = np.float32(update.beta_1)
    beta_2 = np.float32(update.beta_2)
    rest_1, rest_2 = np.float32(1 - update.beta_1), np.float32(1 - update.beta_2)
    keep = np.float32(update.keep)
    rate = np.float32(update.rate)
    root = np.float32(update.root)
    eps = np.float32(update.eps)
    for i in range(len(p)):
        gradient = g[i] * shortening
        first = beta_1 * m[i] + rest_1 * gradient
        second = beta_2 * v[i] + rest_2 * gradient * gradient
        p[i] = p[i] * keep - rate * first / (np.sqrt(second) * root + eps)
        m[i], v[i], g[i] = first, second, np.float32(0)


@compiled
def num_chunks(update: Update) -> int:
    return -(-update.size // CHUNK)


@compiled
def chunk_length(update: Update, chunk: int) -> int:
    return min(CHUNK, update.size - chunk * CHUNK)


@phase("num_chunks(update)")
def sum_squares(update: Update, chunk: int) -> None:
    """Note each chunk's Σ g²."""
    gradients = view_f32(update.gradients + 4 * chunk * CHUNK, chunk_length(update, chunk))
    view_f32(update.sums, num_chunks(update))[chunk] = square_sum(gradients)


@phase("num_chunks(update)")
def move_all(update: Update, factor: float, chunk: int) -> None:
    """`move` every chunk."""
    at = 4 * chunk * CHUNK
    length = chunk_length(update, chunk)
    move(
        view_f32(update.parameters + at, length),
        view_f32(update.gradients + at, length),
        view_f32(update.first + at, length),
        view_f32(update.second + at, length),
        factor,
        update,
    )


@compiled
def total_norm(update: Update) -> float:
    """Return the gradient's length, summed in one fixed order."""
    total = np.float64(0)
    sums = view_f32(update.sums, num_chunks(update))
    for chunk in range(num_chunks(update)):
        total += np.float64(sums[chunk])
    return np.sqrt(total)


@entry_point
def run_update(thread: int, update: Update) -> float:
    """Take the step; return the gradient's length before it was shortened.

    Every thread of a team calls this; the counters are zero before.
    """
    phase = sum_squares(update, opaque(0))
    norm = total_norm(update)
    factor = update.longest / norm if norm > update.longest else 1.0
    move_all(update, factor, phase)
    return norm
