"""Chooses the number format and the pass in which a base is trained, by model, device and processor.

On a processor the default is float32: in the compiled pass if the kernels support the model, and there in 16-bit
integers if the base has quant blocks. bfloat16 changes the gradients by 5 to 12% and its models answer worse
(docs/log.md), so on a processor it is used only on request. On a GPU it is the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from overtone.model.base_tiles import kind_of_layers
from overtone.model.decoder_config import DecoderConfig
from overtone.processor import has_avx2
from overtone.train import compiled_pass


@dataclass(frozen=True)
class Precision:
    """How a base is trained. `obstacle` says why the kernels cannot compute it; "" if they can."""

    dtype: torch.dtype
    in_integers: bool = False
    obstacle: str = ""

    def __str__(self) -> str:
        """Return the method in words for the log: `compiled kernels in 16-bit integers`."""
        numbers = "16-bit integers" if self.in_integers else str(self.dtype).removeprefix("torch.")
        if self.obstacle:
            return f"plain PyTorch in {numbers} ({self.obstacle})"
        return f"compiled kernels in {numbers}"


def choose(base_folder: Path, device: torch.device, wanted: str = "auto") -> Precision:
    """Return how a base is trained on a device; `wanted` is auto, float32 or bfloat16.

    Raises OvertoneError for an architecture that is not supported.
    """
    on_processor = device.type == "cpu"
    dtype = torch.float32 if on_processor else torch.bfloat16
    if wanted != "auto":
        dtype = getattr(torch, wanted)
    config = DecoderConfig.load(base_folder)
    obstacle = compiled_pass.obstacle(config, device, dtype)
    may_round = wanted == "auto" and not obstacle and has_avx2()
    return Precision(dtype, may_round and kind_of_layers(base_folder, config) is not None, obstacle)
