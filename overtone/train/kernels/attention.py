"""Attention over packed documents, row by row: a query sees the shared beginning and its own text up to itself.

Made for passes of a few hundred tokens, where a batched product would mostly compute what is masked. Only the
logarithm of each softmax's sum is kept; the backward pass computes the weights again (arXiv:2205.14135).
"""

from __future__ import annotations

import numpy as np

from overtone.kernels.formulas import exp, softmax
from overtone.kernels.lanes import add_scaled, clear, dot
from overtone.kernels.memory import Array, compiled, free_order


@free_order
def to_weights(scores: Array) -> float:
    """scores = softmax(scores), in place; return the logarithm of the sum of exponentials."""
    largest = np.float32(-np.inf)
    for n in range(len(scores)):
        largest = max(largest, scores[n])
    return softmax(scores, largest)


@free_order
def again(scores: Array, log_sum: float) -> None:
    """scores = the weights that `to_weights` made of them."""
    for n in range(len(scores)):
        scores[n] = exp(scores[n] - log_sum)


@free_order
def to_score_grads(grads: Array, weights: Array, scale: float) -> None:
    """Turn the gradients of softmax's weights into those of the products q kᵀ, in place."""
    mean = np.float32(0)
    for n in range(len(grads)):
        mean += grads[n] * weights[n]
    for n in range(len(grads)):
        grads[n] = weights[n] * (grads[n] - mean) * np.float32(scale)


@compiled
def products_with(rows: int, stride: int, x: int, size: int, factor: float, out: Array) -> None:
    """out[n] = factor · x rows[n], for neighbouring rows."""
    for n in range(len(out)):
        out[n] = dot(rows + n * stride, x, size) * np.float32(factor)


@compiled
def add_rows(rows: int, stride: int, factors: Array, size: int, out: int) -> None:
    """out += Σ_n factors[n] rows[n]."""
    for n in range(len(factors)):
        add_scaled(out, rows + n * stride, factors[n], size)


@compiled
def attend(
    q: int,
    shared: int,
    own: int,
    to_value: int,
    stride: int,
    size: int,
    scale: float,
    num_shared: int,
    weights: Array,
    out: int,
) -> float:
    """out = softmax(q kᵀ scale) v for one query and head; return the logarithm of the softmax's sum.

    `shared` and `own` are the addresses of the first key of each stretch, `to_value` leads from a key to its
    value, `stride` from a key to the next; in bytes. `weights` is as long as the query sees.
    """
    products_with(shared, stride, q, size, scale, weights[:num_shared])
    products_with(own, stride, q, size, scale, weights[num_shared:])
    log_sum = to_weights(weights)
    clear(out, size)
    add_rows(shared + to_value, stride, weights[:num_shared], size, out)
    add_rows(own + to_value, stride, weights[num_shared:], size, out)
    return log_sum


@compiled
def attend_back(
    q: int,
    shared: int,
    own: int,
    to_value: int,
    stride: int,
    size: int,
    scale: float,
    num_shared: int,
    log_sum: float,
    g: int,
    weights: Array,
    grads: Array,
    d_q: int,
) -> None:
    """Compute `attend`'s weights again, the gradients of its scores and, from the output's g, of its query."""
    products_with(shared, stride, q, size, scale, weights[:num_shared])
    products_with(own, stride, q, size, scale, weights[num_shared:])
    again(weights, log_sum)
    products_with(shared + to_value, stride, g, size, 1.0, grads[:num_shared])
    products_with(own + to_value, stride, g, size, 1.0, grads[num_shared:])
    to_score_grads(grads, weights, scale)
    clear(d_q, size)
    add_rows(shared, stride, grads[:num_shared], size, d_q)
    add_rows(own, stride, grads[num_shared:], size, d_q)
