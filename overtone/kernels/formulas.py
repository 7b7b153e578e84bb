"""The decoder's formulas for one row or head, as serving and training share them."""

from __future__ import annotations

from typing import Any

import numpy as np

from overtone.kernels.simd import power_of_two
from overtone.kernels.views import Array, compiled, free_order


@free_order
def exp(x: float) -> float:
    """e^x in float32, within two units in the last place (Cephes): a formula that LLVM runs eight wide."""
    bounded: Any = min(max(x, np.float32(-87)), np.float32(88))
    n = np.floor(bounded * np.float32(1.44269504) + np.float32(0.5))
    r = bounded - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = p * r + np.float32(c)
    return (p * r * r + r + np.float32(1)) * power_of_two(np.int32(n))


@free_order
def softmax(scores: Array, largest: float) -> float:
    """scores = softmax(scores), in place; return log Σ e^score. `largest` is the largest of them."""
    total = np.float32(0)
    for n in range(len(scores)):
        scores[n] = exp(scores[n] - largest)
        total += scores[n]
    for n in range(len(scores)):
        scores[n] /= total
    return largest + np.log(total)


@free_order
def normalise(x: Array, weight: Array, eps: float, normed: Array) -> float:
    """RMSNorm (arXiv:1910.07467); return its factor 1 / sqrt(mean(x²) + eps)."""
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i] * x[i]
    factor = np.float32(1) / np.sqrt(total / np.float32(len(x)) + np.float32(eps))
    for i in range(len(x)):
        normed[i] = x[i] * factor * weight[i]
    return factor


@compiled
def rotate(x: Array, cos: Array, sin: Array, sign: float) -> None:
    """Rotate one head by its position (RoPE, arXiv:2104.09864), or back with sign -1, in place."""
    half = len(cos)
    direction = np.float32(sign)
    for i in range(half):
        a = x[i]
        b = x[half + i]
        s = direction * sin[i]
        x[i] = a * cos[i] - b * s
        x[half + i] = b * cos[i] + a * s
