"""Decimals of numbers that were float32 on the way: 0.001, and not 0.0010000000474974513."""

from __future__ import annotations

import struct


def shortest(value: float) -> float:
    """Return the float64 with the fewest decimal digits that is this float32."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == value:
            return short
    return float(f"{value:.9g}")
