"""The tensors in the adapter slots, and LoRA for a batch whose rows use different adapters.

Slot 0 has no tensors: it is the base itself. Ranks may differ. LoRA: arXiv:2106.09685; batched over adapters:
arXiv:2310.18547.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from overtone.engine.scheduler import Chunk
from overtone.model.adapter import Adapter
from overtone.model.decoder import PROJECTIONS
from overtone.model.decoder_config import DecoderConfig
from overtone.model.lora import FUSED_TARGETS, target_sizes


@dataclass(frozen=True)
class Pair:
    """LoRA of one joined projection: the targets' A stacked, their scaled B in a block-diagonal matrix."""

    a_IR: Tensor
    b_RO: Tensor


Pairs = dict[tuple[int, str], Pair]


def fuse(adapter: Adapter, config: DecoderConfig, dtype: torch.dtype, device: torch.device) -> Pairs:
    """Stack an adapter's matrices for the joined projections. Targets without an adapter take no space."""
    sizes = target_sizes(config)
    pairs: Pairs = {}
    for layer in range(config.num_layers):
        for name in PROJECTIONS:
            present = [target for target in FUSED_TARGETS[name] if (layer, target) in adapter.a]
            if not present:
                continue
            a_RI = torch.cat([adapter.a[layer, target] for target in present])
            b_RO = torch.zeros(len(a_RI), sum(sizes[target][1] for target in FUSED_TARGETS[name]))
            column = 0
            for target in FUSED_TARGETS[name]:
                if target in present:
                    rows = slice((place := present.index(target)) * adapter.rank, (place + 1) * adapter.rank)
                    b_RO[rows, column : column + sizes[target][1]] = (
                        adapter.scale * adapter.b[layer, target].T
                    )
                column += sizes[target][1]
            pairs[layer, name] = Pair(a_RI.T.to(device, dtype).contiguous(), b_RO.to(device, dtype))
    return pairs


class AdapterBank:
    """The adapters in the slots, and which rows of this step use which slot."""

    def __init__(self) -> None:
        self._pairs: dict[int, Pairs] = {}
        self._rows: list[tuple[slice, Pairs]] = []
        self._last_rows: list[tuple[slice, Pairs]] = []

    def install(self, slot: int, pairs: Pairs) -> None:
        """Fill a slot and replace its old content."""
        self._pairs[slot] = pairs

    def plan(self, chunks: Sequence[Chunk], slots: Sequence[int]) -> None:
        """Record which slot each row uses: of all rows, and of those that the last layer keeps."""
        self._rows = self._assign([chunk.count for chunk in chunks], slots)
        self._last_rows = self._assign([int(chunk.is_last) for chunk in chunks], slots)
        self._num_rows = sum(chunk.count for chunk in chunks)

    def add(self, layer: int, name: str, x_TI: Tensor, y_TO: Tensor) -> None:
        """y[rows] += (x[rows] A) B, each row with the adapter in its slot. Changes y in place."""
        for rows, pairs in self._rows if len(x_TI) == self._num_rows else self._last_rows:
            pair = pairs.get((layer, name))
            if pair is not None:
                y_TO[rows].addmm_(x_TI[rows] @ pair.a_IR, pair.b_RO)

    def _assign(self, counts: Sequence[int], slots: Sequence[int]) -> list[tuple[slice, Pairs]]:
        rows, start = [], 0
        for count, slot in zip(counts, slots, strict=True):
            piece = slice(start, start := start + count)
            if slot and count:
                rows.append((piece, self._pairs[slot]))
        return rows
