"""Attention over packed documents, a strip of queries and a head at a time, as products of panels.

A query sees the shared beginning and its own text up to itself: two stretches of neighbouring keys. A strip is
up to STRIP neighbouring queries of one text, so what it computes does not depend on the texts beside it. Only the
logarithm of each softmax's sum is kept; the backward pass computes the weights again (arXiv:2205.14135).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from overtone.kernels import float_products
from overtone.kernels.calls import caller
from overtone.kernels.formulas import exp, softmax
from overtone.kernels.panels import FLOATS
from overtone.kernels.tiles import PANEL
from overtone.kernels.views import Array, compiled, free_order, view_f32

STRIP = 72  # queries: twelve times as many as a product computes together

call_multiply_by_columns = caller(float_products.multiply_by_columns)
call_multiply_by_rows = caller(float_products.multiply_by_rows)


class KeySpan(NamedTuple):
    """What a strip's queries see of one head. The last of `num_own` keys is the last query's own."""

    num_queries: int
    shared: int  # address of the first shared key
    num_shared: int
    own: int  # address of the text's first key
    num_own: int
    span: int  # of the text's keys for which weights are written, zeros past a query's own
    stride: int  # bytes from a key to the next
    size: int  # of a head


class Kernels(NamedTuple):
    """Addresses: of float_products.py's functions and of a thread's panel."""

    by_rows: int
    by_columns: int
    panel: int


@free_order
def to_weights(scores: Array, scale: float) -> float:
    """scores = softmax(scale · scores), in place; return the logarithm of the sum of exponentials."""
    largest = np.float32(-np.inf)
    for n in range(len(scores)):
        scores[n] *= np.float32(scale)
        largest = max(largest, scores[n])
    return softmax(scores, largest)


@free_order
def recompute_weights(scores: Array, scale: float, log_sum: float) -> None:
    """scores = the weights that `to_weights` made of them."""
    for n in range(len(scores)):
        scores[n] = exp(np.float32(scale) * scores[n] - np.float32(log_sum))


@free_order
def to_score_grads(grads: Array, weights: Array, scale: float) -> None:
    """Turn the gradients of softmax's weights into those of the products q kᵀ, in place."""
    mean = np.float32(0)
    for n in range(len(grads)):
        mean += grads[n] * weights[n]
    for n in range(len(grads)):
        grads[n] = weights[n] * (grads[n] - mean) * np.float32(scale)


@compiled
def multiply_keys(
    kernels: Kernels, x: int, stride_x: int, keys: KeySpan, to_key: int, out: int, stride_out: int
) -> None:
    """out[q, n] = x_q · key n for every key that query q sees.

    Columns past the last of them are garbage, up to the next multiple of 16.

    `to_key` leads from a key to what is meant by it: 0, or to its value.
    """
    for first in range(0, keys.num_shared, PANEL):
        key = keys.shared + to_key + first * keys.stride
        call_multiply_by_rows(
            kernels.by_rows,
            x,
            stride_x,
            keys.num_queries,
            FLOATS,
            key,
            keys.size,
            keys.stride,
            out + 4 * first,
            stride_out,
            0,
            kernels.panel,
        )
    for first in range(0, keys.num_own, PANEL):
        key = keys.own + to_key + first * keys.stride
        column = keys.num_shared + first
        blind = max(0, first - (keys.num_own - keys.num_queries))  # queries before the panel's first key
        call_multiply_by_rows(
            kernels.by_rows,
            x + blind * stride_x,
            stride_x,
            keys.num_queries - blind,
            FLOATS,
            key,
            keys.size,
            keys.stride,
            out + blind * stride_out + 4 * column,
            stride_out,
            0,
            kernels.panel,
        )


@compiled
def mix_keys(
    kernels: Kernels, weights: int, stride_weights: int, keys: KeySpan, to_key: int, y: int, stride_y: int
) -> None:
    """y_q = Σ_n weights[q, n] · key n; `to_key` as above."""
    own_weights = weights + 4 * keys.num_shared
    for column in range(0, keys.size, PANEL):
        adds = 0
        if keys.num_shared:
            adds = 1
            call_multiply_by_columns(
                kernels.by_columns,
                weights,
                stride_weights,
                keys.num_queries,
                FLOATS,
                keys.shared + to_key,
                column,
                keys.num_shared,
                keys.stride,
                y + 4 * column,
                stride_y,
                0,
                kernels.panel,
            )
        call_multiply_by_columns(
            kernels.by_columns,
            own_weights,
            stride_weights,
            keys.num_queries,
            FLOATS,
            keys.own + to_key,
            column,
            keys.num_own,
            keys.stride,
            y + 4 * column,
            stride_y,
            adds,
            kernels.panel,
        )


@compiled
def num_seen(keys: KeySpan, query: int) -> int:
    """Return how many keys the strip's n-th query sees."""
    return keys.num_shared + keys.num_own - keys.num_queries + query + 1


@compiled
def clear_unseen(row: int, keys: KeySpan, query: int) -> None:
    """Put zeros where a query's row has garbage."""
    count = num_seen(keys, query)
    zeros = view_f32(row + 4 * count, keys.num_shared + keys.span - count)
    for n in range(len(zeros)):
        zeros[n] = np.float32(0)


@compiled
def attend(
    kernels: Kernels,
    q: int,
    stride_q: int,
    keys: KeySpan,
    to_value: int,
    scale: float,
    weights: int,
    stride_weights: int,
    out: int,
    stride_out: int,
    log_sums: int,
    stride_log_sum: int,
) -> None:
    """out = softmax(q kᵀ scale) v for a strip; note the logarithms of the softmaxes' sums.

    Addresses, and bytes from row to row. `weights` is working memory: as long as a query sees and a panel.
    """
    multiply_keys(kernels, q, stride_q, keys, 0, weights, stride_weights)
    for query in range(keys.num_queries):
        row = weights + query * stride_weights
        log_sum = to_weights(view_f32(row, num_seen(keys, query)), scale)
        view_f32(log_sums + query * stride_log_sum, 1)[0] = log_sum
        clear_unseen(row, keys, query)
    mix_keys(kernels, weights, stride_weights, keys, to_value, out, stride_out)


@compiled
def attend_back(
    kernels: Kernels,
    q: int,
    stride_q: int,
    keys: KeySpan,
    to_value: int,
    scale: float,
    weights: int,
    grads: int,
    stride_weights: int,
    g: int,
    stride_g: int,
    log_sums: int,
    stride_log_sum: int,
    d_q: int,
) -> None:
    """Compute `attend`'s weights again, the gradients of its scores and, from the output's g, of its queries."""
    multiply_keys(kernels, q, stride_q, keys, 0, weights, stride_weights)
    multiply_keys(kernels, g, stride_g, keys, to_value, grads, stride_weights)
    for query in range(keys.num_queries):
        row = weights + query * stride_weights
        d_row = grads + query * stride_weights
        count = num_seen(keys, query)
        recompute_weights(view_f32(row, count), scale, view_f32(log_sums + query * stride_log_sum, 1)[0])
        to_score_grads(view_f32(d_row, count), view_f32(row, count), scale)
        clear_unseen(row, keys, query)
        clear_unseen(d_row, keys, query)
    mix_keys(kernels, grads, stride_weights, keys, 0, d_q, stride_q)
