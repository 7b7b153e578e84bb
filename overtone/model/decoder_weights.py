"""Reads a base's safetensors as tensors by Hugging Face's names, and joins the projections that the decoder joins."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from overtone.errors import OvertoneError
from overtone.model import safetensors_file
from overtone.model.decoder_config import DecoderConfig
from overtone.model.projections import JOINED, PACKED, bias_name, module_path


class WeightFile:
    """model.safetensors, or the shards in model.safetensors.index.json, memory-mapped."""

    def __init__(
        self, base_folder: Path, config: DecoderConfig, dtype: torch.dtype, device: torch.device | str
    ):
        self._folder = base_folder
        self._config = config
        self._dtype = dtype
        self._device = device
        self._files: dict[str, Any] = {}  # tensor name → the open file that holds it
        self._stack = ExitStack()
        for path in safetensors_file.weight_files(base_folder):
            file = self._stack.enter_context(safe_open(path, framework="pt"))
            self._files.update(dict.fromkeys(file.keys(), file))

    def get(self, name: str) -> Tensor:
        """Return a tensor in our dtype on our device. Raises OvertoneError if the file lacks it."""
        if name not in self._files:
            raise OvertoneError(
                f"The model in {self._folder} has no tensor {name}: the file is damaged or belongs to another model."
            )
        stored: Tensor = self._files[name].get_tensor(name)
        return stored.to(self._device, self._dtype)

    def norm(self, name: str) -> Tensor:
        """Return a norm's weight ready for use; Gemma stores it minus one."""
        return self.get(f"{name}.weight") + self._config.family.norm_offset

    def layer_norms(self, index: int) -> dict[str, Tensor]:
        """Return a layer's norms by role, including those of queries and keys."""
        names = {role: name for role, name in asdict(self._config.family.norms).items() if name}
        if self._config.family.qk_norm:
            names.update(q_norm="self_attn.q_norm", k_norm="self_attn.k_norm")
        return {role: self.norm(f"model.layers.{index}.{name}") for role, name in names.items()}

    def has_bias(self, index: int, projection: str) -> bool:
        return bias_name(index, projection) in self._files

    def joined(self, index: int, projection: str, kind: str) -> Tensor:
        """Return a joined projection's weight_OI or bias_O: a packed module, or its modules' rows joined."""

        def name_of(module: str) -> str:
            return f"model.layers.{index}.{module_path(module)}.{kind}"

        packed = PACKED.get(projection)
        if packed and name_of(packed) in self._files:
            return self.get(name_of(packed))
        tensors = [self.get(name_of(module)) for module in JOINED[projection]]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
