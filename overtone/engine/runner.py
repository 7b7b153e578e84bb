"""What computes steps: the one place where the scheduler's integers meet tensors.

torch_runner.py is the plain one, for any family and device; cpu_runner.py the clever one for the processor; open.py
chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from overtone.engine.sampling import Logits
from overtone.engine.scheduler import Chunk
from overtone.model.adapter import Adapter
from overtone.model.decoder_config import DecoderConfig

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
