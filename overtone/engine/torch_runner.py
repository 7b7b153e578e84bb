"""The plain runner: any family, any device, float weights, through the decoder's own forward."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from overtone.engine.adapters import AdapterBank, StackedAdapter, stack
from overtone.engine.attention import PagedAttention
from overtone.engine.runner import NUM_TOKENS
from overtone.engine.sampling import Logits
from overtone.engine.scheduler import Chunk
from overtone.model.adapter import Adapter
from overtone.model.decoder import Decoder


class TorchRunner:
    """Runs float weights through the decoder's own forward."""

    block_size = 16

    def __init__(
        self,
        base_folder: Path,
        device: str = "cpu",
        num_tokens: int = NUM_TOKENS,
        dtype: str = "float32",
    ):
        """Load a base, with a cache for at least `num_tokens` and at least one whole context."""
        self.device = device
        self.decoder = Decoder.load(base_folder, getattr(torch, dtype), torch.device(device))
        self.config = self.decoder.config
        self.num_blocks = -(-max(num_tokens, self.config.context_length) // self.block_size)
        self._bank = AdapterBank()
        self._attention = PagedAttention(
            self.config, self.num_blocks, self.block_size, self.decoder.dtype, self.decoder.device
        )

    @property
    def precision(self) -> str:
        return f"plain PyTorch in {str(self.decoder.dtype).removeprefix('torch.')}"

    def prepare(self, adapter: Adapter) -> StackedAdapter:
        """Convert an adapter to what `install` takes. Safe in another thread during a step."""
        return stack(adapter, self.config, self.decoder.dtype, self.decoder.device)

    def install(self, slot: int, stacked: StackedAdapter) -> None:
        """Put a prepared adapter into a slot."""
        self._bank.install(slot, stacked)

    @torch.inference_mode()
    def step(self, chunks: Sequence[Chunk], slots: Sequence[int]) -> Logits:
        """Compute the chunks, each with its slot's adapter. Return the logits of every prompt's last chunk."""
        self._attention.plan(chunks)
        self._bank.plan(chunks, slots)
        ids = [
            token for chunk in chunks for token in chunk.sequence.ids[chunk.start : chunk.start + chunk.count]
        ]
        positions = [place for chunk in chunks for place in range(chunk.start, chunk.start + chunk.count)]
        keep = self._tensor(_last_rows(chunks))
        hidden_TD = self.decoder.forward(
            self._tensor(ids), self._tensor(positions), self._attention.attend, self._project, keep
        )
        rows = self.decoder.logits(hidden_TD).float()
        return Logits(rows.cpu().numpy(), rows.argmax(1).tolist(), rows.logsumexp(1).tolist())

    def _project(self, layer: int, name: str, x_TI: Tensor) -> Tensor:
        y_TO = self.decoder.project(layer, name, x_TI)
        self._bank.add(layer, name, x_TI, y_TO)
        return y_TO

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)


def _last_rows(chunks: Sequence[Chunk]) -> list[int]:
    """Return the row of the last token of each chunk that completes its sequence."""
    rows = []
    end = 0
    for chunk in chunks:
        end += chunk.count
        if chunk.is_last:
            rows.append(end - 1)
    return rows
