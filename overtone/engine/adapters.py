"""The tensors in the adapter slots, and LoRA for a batch whose rows use different adapters.

Slot 0 has no tensors: it is the base itself. Ranks may differ. LoRA: arXiv:2106.09685; batched over adapters:
arXiv:2310.18547.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from overtone.engine.scheduler import Chunk
from overtone.model.adapter import Adapter
from overtone.model.decoder_config import DecoderConfig
from overtone.model.projections import JOINED, module_sizes


@dataclass(frozen=True)
class StackedLora:
    """LoRA of one joined projection: its modules' A stacked, their scaled B in a block-diagonal matrix."""

    a_IR: Tensor
    b_RO: Tensor


StackedAdapter = dict[tuple[int, str], StackedLora]
"""By layer and joined projection."""


def stack(
    adapter: Adapter, config: DecoderConfig, dtype: torch.dtype, device: torch.device
) -> StackedAdapter:
    """Stack an adapter's matrices for the joined projections. Modules without an adapter take no space."""
    sizes = module_sizes(config)
    stacked: StackedAdapter = {}
    for layer in range(config.num_layers):
        for name, modules in JOINED.items():
            present = [module for module in modules if (layer, module) in adapter.a]
            if not present:
                continue
            a_RI = torch.from_numpy(np.concatenate([adapter.a[layer, module] for module in present]))
            b_RO = torch.zeros(len(a_RI), sum(sizes[module][1] for module in modules))
            row = column = 0
            for module in modules:
                end = column + sizes[module][1]
                if module in present:
                    b_OR = torch.from_numpy(adapter.b[layer, module])
                    b_RO[row : row + adapter.rank, column:end] = adapter.scale * b_OR.T
                    row += adapter.rank
                column = end
            stacked[layer, name] = StackedLora(a_RI.T.to(device, dtype).contiguous(), b_RO.to(device, dtype))
    return stacked


class AdapterBank:
    """The adapters in the slots, and which rows of this step use which slot."""

    def __init__(self) -> None:
        self._adapters: dict[int, StackedAdapter] = {}
        self._rows: list[tuple[slice, StackedAdapter]] = []
        self._last_rows: list[tuple[slice, StackedAdapter]] = []

    def install(self, slot: int, stacked: StackedAdapter) -> None:
        """Fill a slot and replace its old content."""
        self._adapters[slot] = stacked

    def plan(self, chunks: Sequence[Chunk], slots: Sequence[int]) -> None:
        """Record which slot each row uses: of all rows, and of those that the last layer keeps."""
        self._rows = self._assign([chunk.count for chunk in chunks], slots)
        self._last_rows = self._assign([int(chunk.is_last) for chunk in chunks], slots)
        self._num_rows = sum(chunk.count for chunk in chunks)

    def add(self, layer: int, name: str, x_TI: Tensor, y_TO: Tensor) -> None:
        """y[rows] += (x[rows] A) B, each row with the adapter in its slot. Changes y in place."""
        for rows, stacked in self._rows if len(x_TI) == self._num_rows else self._last_rows:
            lora = stacked.get((layer, name))
            if lora is not None:
                y_TO[rows].addmm_(x_TI[rows] @ lora.a_IR, lora.b_RO)

    def _assign(self, counts: Sequence[int], slots: Sequence[int]) -> list[tuple[slice, StackedAdapter]]:
        rows = []
        start = 0
        for count, slot in zip(counts, slots, strict=True):
            part = slice(start, start := start + count)
            if slot and count:
                rows.append((part, self._adapters[slot]))
        return rows
