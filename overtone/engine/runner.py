"""The interface of a runner, which computes the scheduler's steps with tensors.

torch_runner.py is the plain runner, for every family and device; cpu_runner.py is the compiled one, for the processor;
open.py chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from overtone.engine.sampling import Logits
from overtone.engine.scheduler import Chunk
from overtone.model.adapter import Adapter
from overtone.model.decoder_config import DecoderConfig

NUM_TOKENS = 16384  # positions in the cache, unless the context is longer


class Runner(Protocol):
    """Holds the base's weights, the cache's tensors and the adapters in their slots."""

    config: DecoderConfig
    device: str
    block_size: int
    num_blocks: int

    @property
    def precision(self) -> str:
        """How and in which number format it computes, in words for the log."""

    def prepare(self, adapter: Adapter) -> Any:
        """Convert an adapter to what `install` takes. Safe in another thread during a step."""

    def install(self, slot: int, prepared: Any) -> None:
        """Put a prepared adapter into a slot and replace its old content."""

    def step(self, chunks: Sequence[Chunk], slots: Sequence[int]) -> Logits:
        """Compute the chunks, each with its slot's adapter. Return the logits of every prompt's last chunk."""
