"""In which numbers a base is trained and by which pass: chosen by the model, the device and the processor.

On a processor the weights are float32, whatever it offers: in the compiled pass where the kernels know the model,
and there with the base's own quantised blocks in 16-bit integers where it has such. bfloat16 moves the gradients
by five to twelve hundredths and its models answer worse (docs/log.md), so on a processor it must be asked for. On
a GPU it is the rule.
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
    """How a base is trained. `obstacle` says why the kernels cannot, "" when they can."""

    dtype: torch.dtype
    in_integers: bool = False
    obstacle: str = ""

    def __str__(self) -> str:
        """Return it in words, for the log: `compiled kernels in 16-bit integers`."""
        numbers = "16-bit integers" if self.in_integers else str(self.dtype).removeprefix("torch.")
        if self.obstacle:
            return f"plain PyTorch in {numbers} ({self.obstacle})"
        return f"compiled kernels in {numbers}"


def choose(base_folder: Path, device: torch.device, wanted: str = "auto") -> Precision:
    """Return how a base is trained on a device; `wanted` is auto, float32 or bfloat16.

    Raises OvertoneError for an architecture that we do not know.
    """
    on_processor = device.type == "cpu"
    dtype = torch.float32 if on_processor else torch.bfloat16
    if wanted != "auto":
        dtype = getattr(torch, wanted)
    config = DecoderConfig.load(base_folder)
    obstacle = compiled_pass.obstacle(config, device, dtype)
    may_round = wanted == "auto" and not obstacle and has_avx2()
    return Precision(dtype, may_round and kind_of_layers(base_folder, config) is not None, obstacle)
