"""Adapters of a base with packed modules: Phi-3 has one qkv_proj and one gate_up_proj.

peft adapts a module; we adapt its parts. The parts' pairs form one pair of the module: the As stacked and the Bs in
a block diagonal. Rank and alpha are multiplied by the number of parts, so the scale stays the same:

    ⎡B_q        ⎤ ⎡A_q⎤
    ⎢    B_k    ⎥ ⎢A_k⎥ x
    ⎣        B_v⎦ ⎣A_v⎦

An adapter trained by peft is one pair at the plain rank: its A is the A of every part.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from overtone.model.projections import PACKED, PACKED_PARTS

Array = np.ndarray[Any, Any]
Matrices = dict[tuple[int, str], Array]
"""Keys are (layer, module), packed or not."""


def patterns(rank: int, alpha: float) -> dict[str, Any]:
    """Return the entries of adapter_config.json for the packed modules."""
    return {
        "rank_pattern": {module: len(parts) * rank for module, parts in PACKED_PARTS.items()},
        "alpha_pattern": {module: len(parts) * alpha for module, parts in PACKED_PARTS.items()},
    }


def pack(a: Matrices, b: Matrices) -> tuple[Matrices, Matrices]:
    """Return the pairs (A_RI, B_OR) with the parts of packed modules joined. A layer has all parts or none."""
    packed_a, packed_b = dict(a), dict(b)
    for layer in {layer for layer, _ in a}:
        for module, parts in PACKED_PARTS.items():
            if (layer, parts[0]) in a:
                packed_a[layer, module] = np.concatenate([packed_a.pop((layer, part)) for part in parts])
                packed_b[layer, module] = _block_diagonal([packed_b.pop((layer, part)) for part in parts])
    return packed_a, packed_b


def unpack(a: Matrices, b: Matrices, rank: int) -> tuple[Matrices, Matrices]:
    """Return the pairs with those of packed modules split into their parts.

    Raises ValueError if a module's pair is neither in the form that `pack` writes nor of the plain rank.
    """
    parts_a, parts_b = dict(a), dict(b)
    for layer, module in a:
        if module in PACKED_PARTS:
            places = [(layer, part) for part in PACKED_PARTS[module]]
            a_RI, b_OR = parts_a.pop((layer, module)), parts_b.pop((layer, module))
            if len(a_RI) != b_OR.shape[1]:
                raise ValueError(f"the matrices of {module} in layer {layer} do not pair up")
            sizes = _sizes(a, layer, module, len(b_OR))
            parts_a.update(zip(places, _split_a(a_RI, len(places), rank), strict=True))
            parts_b.update(zip(places, _split_b(b_OR, sizes, rank), strict=True))
    return parts_a, parts_b


def _sizes(a: Matrices, layer: int, module: str, num_rows: int) -> list[int]:
    """Return the number of rows of each part. The queries have as many rows as o_proj has inputs."""
    if module == PACKED["gate_up"]:
        return [num_rows // 2] * 2
    if (layer, "o_proj") not in a:
        raise ValueError(f"layer {layer} has {module} without o_proj")
    num_queries = a[layer, "o_proj"].shape[1]
    return [num_queries, *[(num_rows - num_queries) // 2] * 2]


def _split_a(a_RI: Array, num_parts: int, rank: int) -> list[Array]:
    return [a_RI] * num_parts if len(a_RI) == rank else np.split(a_RI, range(rank, len(a_RI), rank))


def _split_b(b_OR: Array, sizes: list[int], rank: int) -> list[Array]:
    if min(sizes) < 0 or sum(sizes) != len(b_OR):
        raise ValueError(f"{len(b_OR)} rows are not those of its parts")
    rows = np.split(b_OR, np.cumsum(sizes)[:-1])
    if b_OR.shape[1] == rank:
        return rows
    squares = [part[:, i * rank : (i + 1) * rank] for i, part in enumerate(rows)]
    if not np.array_equal(_block_diagonal(squares), b_OR):
        raise ValueError("the parts of a packed module share more than their input")
    return squares


def _block_diagonal(matrices: list[Array]) -> Array:
    joined = np.zeros(np.sum([matrix.shape for matrix in matrices], axis=0), np.float32)
    row = column = 0
    for matrix in matrices:
        joined[row : row + len(matrix), column : column + matrix.shape[1]] = matrix
        row += len(matrix)
        column += matrix.shape[1]
    return joined
