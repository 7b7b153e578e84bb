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

import torch
from torch import Tensor

from overtone.model.projections import PACKED, PACKED_PARTS

Matrices = dict[tuple[int, str], Tensor]
"""Keys are (layer, module), packed or not."""

_block_diag: Any = torch.block_diag


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
                packed_a[layer, module] = torch.cat([packed_a.pop((layer, part)) for part in parts])
                packed_b[layer, module] = _block_diag(*[packed_b.pop((layer, part)) for part in parts])
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


def _split_a(a_RI: Tensor, num_parts: int, rank: int) -> list[Tensor]:
    return [a_RI] * num_parts if len(a_RI) == rank else list(torch.split(a_RI, rank))


def _split_b(b_OR: Tensor, sizes: list[int], rank: int) -> list[Tensor]:
    rows = torch.split(b_OR, sizes)
    if b_OR.shape[1] == rank:
        return list(rows)
    squares = [part[:, i * rank : (i + 1) * rank] for i, part in enumerate(rows)]
    if not torch.equal(_block_diag(*squares), b_OR):
        raise ValueError("the parts of a packed module share more than their input")
    return squares
