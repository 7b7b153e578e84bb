"""Computes steps: the one place where the scheduler's integers meet tensors.

Here is the plain runner: any family, any device, float weights. cpu_runner.py is the clever one for the
processor; `open_runner` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from overtone.engine.adapters import AdapterBank, Pairs, fuse
from overtone.engine.attention import PagedAttention
from overtone.engine.sampling import Logits
from overtone.engine.scheduler import Chunk
from overtone.model.adapter import Adapter
from overtone.model.decoder import Decoder
from overtone.model.decoder_config import DecoderConfig
from overtone.model.device import choose_device

NUM_TOKENS = 16384  # places in the cache, where the context is not longer


class Runner(Protocol):
    """The base's weights, the cache's tensors, the adapters in their slots."""

    config: DecoderConfig
    device: torch.device
    block_size: int
    num_blocks: int

    @property
    def precision(self) -> str:
        """In which numbers it computes and with what, in words, for the log."""

    def prepare(self, adapter: Adapter) -> Any:
        """Turn an adapter into what `install` takes. Safe in another thread while steps go on."""

    def install(self, slot: int, prepared: Any) -> None:
        """Put a prepared adapter into a slot, in place of what was there."""

    def step(self, chunks: Sequence[Chunk], slots: Sequence[int]) -> Logits:
        """Compute the chunks, each through its slot; return the logits of those that are the last."""


def open_runner(
    base_folder: Path, device: str, max_rows: int, num_threads: int = 0, weights: str = "auto"
) -> Runner:
    """Load a base with the fastest runner that can serve it. `max_rows` is the size of the largest step.

    `weights` is auto (a base's own blocks or 8 bits where the processor's kernels know the model, else float32
    there and bfloat16 on a GPU), float32 or bfloat16.
    """
    chosen = choose_device(device)
    if chosen.type == "cpu" and weights == "auto":
        from overtone.engine import cpu_runner  # compiles its kernels: only where they are used

        if cpu_runner.is_supported(base_folder):
            return cpu_runner.CpuRunner(base_folder, max_rows, num_threads=num_threads)
    plain = "float32" if chosen.type == "cpu" else "bfloat16"
    return TorchRunner(base_folder, chosen, dtype=getattr(torch, plain if weights == "auto" else weights))


class TorchRunner:
    """Float weights through the decoder's own forward."""

    block_size = 16

    def __init__(
        self,
        base_folder: Path,
        device: torch.device,
        num_tokens: int = NUM_TOKENS,
        dtype: torch.dtype = torch.float32,
    ):
        """Load a base, with a cache for at least `num_tokens` and at least one whole context."""
        self.device, self.dtype = device, dtype
        self.decoder = Decoder.load(base_folder, dtype, device)
        self.config = self.decoder.config
        self.num_blocks = -(-max(num_tokens, self.config.context_length) // self.block_size)
        self._bank = AdapterBank()
        self._attention = PagedAttention(self.config, self.num_blocks, self.block_size, dtype, device)

    @property
    def precision(self) -> str:
        return f"plain PyTorch in {str(self.dtype).removeprefix('torch.')}"

    def prepare(self, adapter: Adapter) -> Pairs:
        """Turn an adapter into what `install` takes. Safe in another thread while steps go on."""
        return fuse(adapter, self.config, self.dtype, self.device)

    def install(self, slot: int, pairs: Pairs) -> None:
        """Put a prepared adapter into a slot."""
        self._bank.install(slot, pairs)

    @torch.inference_mode()
    def step(self, chunks: Sequence[Chunk], slots: Sequence[int]) -> Logits:
        """Compute the chunks, each through its slot; return the logits of those that are the last."""
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
        return Logits.of(self.decoder.logits(hidden_TD).float())

    def _project(self, layer: int, name: str, x_TI: Tensor) -> Tensor:
        y_TO = self.decoder.project(layer, name, x_TI)
        self._bank.add(layer, name, x_TI, y_TO)
        return y_TO

    def _tensor(self, values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)


def _last_rows(chunks: Sequence[Chunk]) -> list[int]:
    """Return the row of each sequence's last token, for the chunks that reach it."""
    rows, end = [], 0
    for chunk in chunks:
        end += chunk.count
        if chunk.is_last:
            rows.append(end - 1)
    return rows
