"""A base as training uses it: the decoder, and the compiled pass where the kernels know this base.

The decoder's own forward knows every family, device and length; the compiled pass is several times as fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from overtone.bases.base_check import check_weights
from overtone.model.decoder import Decoder
from overtone.model.lora import JobRows
from overtone.train import compiled_pass
from overtone.train.compiled_pass import CompiledPass
from overtone.train.precision import choose


class TrainingBase:
    """A base's frozen weights and their compiled pass, which is created at the first call."""

    def __init__(self, decoder: Decoder, in_integers: bool = False):
        """`in_integers`: multiply with the base's quant blocks in 16-bit integers, if it has any (precision.py)."""
        self.decoder = decoder
        self.in_integers = in_integers

    @classmethod
    def load(cls, base_folder: Path, device: torch.device, wanted: str = "auto") -> TrainingBase:
        """Load a base for training in the numbers that `precision.choose` says.

        Raises OvertoneError if it does not match its config.json.
        """
        check_weights(base_folder)
        chosen = choose(base_folder, device, wanted)
        return cls(Decoder.load(base_folder, chosen.dtype, device), chosen.in_integers)

    def compiled_for(self, jobs: Sequence[JobRows]) -> CompiledPass | None:
        """Return the compiled pass, or None if the kernels do not support this base or the ranks of these jobs."""
        return self._compiled if compiled_pass.can_run(self.decoder, jobs) else None

    @cached_property
    def _compiled(self) -> CompiledPass:
        return CompiledPass(self.decoder, self.in_integers)
