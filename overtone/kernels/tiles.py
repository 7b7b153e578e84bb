"""Quantised weights in the layout that the kernels of engine and trainer read, made from a base's own blocks.

A base that came as 4-bit blocks (GGUF Q4_1: w = d q + m over 32 inputs) is served from exactly these numbers,
and its embedding likewise from its 8-bit ones (Q8_0: w = d q). Floats can be rounded to 8 bits here.

Sixteen outputs make a tile, a tile's bytes lie in the order in which they are used:

    for every block of 32 inputs:   weights, then 16 scales d, then (4-bit) 16 minima m as float16
    4-bit weights:                  for every 4 inputs, for outputs 0-7 and then 8-15: 8 outputs · 2 bytes,
                                    a byte holding inputs c (low) and c + 2 (high), c = 0, 1
    8-bit weights:                  for every 2 inputs, for outputs 0-7 and then 8-15: 8 outputs · 2 bytes
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

QUANT_BLOCK = 32  # inputs that share one scale: a block of GGUF
TILE = 16  # outputs
PANEL = TILE  # columns of a right-hand matrix that the rows of the left one meet together


@dataclass(frozen=True)
class Kind:
    """A kind of quant block: how many bytes those of a tile's 16 outputs take."""

    name: str
    weight_bytes: int
    num_scales: int

    @property
    def block_bytes(self) -> int:
        return self.weight_bytes + self.num_scales * TILE * 2


Q4 = Kind("q4", TILE * QUANT_BLOCK // 2, 2)
Q8 = Kind("q8", TILE * QUANT_BLOCK, 1)


@dataclass(frozen=True)
class Tiles:
    """A quantised matrix of `num_outputs` (a multiple of 16) by `num_inputs` (a multiple of 32)."""

    kind: Kind
    data: NDArray[np.uint8]  # [tile, block, bytes]

    @property
    def num_outputs(self) -> int:
        return len(self.data) * TILE

    @property
    def num_inputs(self) -> int:
        return int(self.data.shape[1]) * QUANT_BLOCK


def pack_q4(pairs_OJ: NDArray[np.uint8], d_OB: NDArray[np.float16], m_OB: NDArray[np.float16]) -> Tiles:
    """Pack 4-bit numbers as they stand in blocks.safetensors: input 2j in a byte's low nibble, 2j + 1 high."""
    first, second = pairs_OJ[:, 0::2], pairs_OJ[:, 1::2]  # of every four inputs: 0 and 1, 2 and 3
    bytes_OJ = np.empty_like(pairs_OJ)
    bytes_OJ[:, 0::2] = (first & 15) | (second << 4)
    bytes_OJ[:, 1::2] = (first >> 4) | (second & 0xF0)
    return Tiles(Q4, np.concatenate([_weights(bytes_OJ, 8), _scales(d_OB), _scales(m_OB)], axis=2))


def pack_q8(q_OI: NDArray[np.int8], d_OB: NDArray[np.float16]) -> Tiles:
    """Pack 8-bit numbers with their scales."""
    return Tiles(Q8, np.concatenate([_weights(q_OI.view(np.uint8), 16), _scales(d_OB)], axis=2))


def quantise_q8(weight_OI: NDArray[np.float32]) -> Tiles:
    """Round floats to 8 bits, 32 inputs to a scale: w ≈ d q with d = max|w| / 127."""
    blocks_OBI = weight_OI.reshape(len(weight_OI), -1, QUANT_BLOCK)
    d_OB = (np.abs(blocks_OBI).max(axis=2) / 127).astype(np.float16)
    scale = np.where(d_OB == 0, np.float32(1), d_OB.astype(np.float32))[..., None]
    q_OBI = np.clip(np.rint(blocks_OBI / scale), -127, 127).astype(np.int8)
    return pack_q8(q_OBI.reshape(weight_OI.shape), d_OB)


def _weights(bytes_OJ: NDArray[np.uint8], steps: int) -> NDArray[np.uint8]:
    """Order a matrix' bytes by tile, block, step, vector and output, an output's two bytes together."""
    pairs = bytes_OJ.view(np.uint16)
    split = pairs.reshape(len(pairs) // TILE, 2, 8, -1, steps)  # tile, vector, output, block, step
    ordered = np.ascontiguousarray(split.transpose(0, 3, 4, 1, 2))
    return ordered.view(np.uint8).reshape(*ordered.shape[:2], -1)


def _scales(d_OB: NDArray[np.float16]) -> NDArray[np.uint8]:
    tiled = np.ascontiguousarray(d_OB.reshape(-1, TILE, d_OB.shape[1]).transpose(0, 2, 1))
    return tiled.view(np.uint8).reshape(*tiled.shape[:2], -1)
