"""Reads a base's safetensors as numpy arrays, for the compiled kernels. decoder_weights.py reads them as tensors."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from overtone.errors import OvertoneError
from overtone.model import safetensors_file
from overtone.model.projections import bias_name

Array = np.ndarray[Any, Any]


class WeightArrays:
    """model.safetensors, or the shards in model.safetensors.index.json, memory-mapped, in float32."""

    def __init__(self, base_folder: Path):
        """Open the files. Raises ValueError if one is damaged."""
        self._folder = base_folder
        self._tensors: dict[
            str, tuple[memoryview, dict[str, Any]]
        ] = {}  # name → its file's data, its header entry
        for path in safetensors_file.weight_files(base_folder):
            header, start = safetensors_file.read_header(path)
            with path.open("rb") as file:
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[start:]
            self._tensors.update({name: (data, spec) for name, spec in header.items()})

    def get(self, name: str) -> Array:
        """Return a weight, which may be a view of the file. Raises OvertoneError if the files lack it."""
        if name not in self._tensors:
            raise OvertoneError(
                f"The model in {self._folder} has no tensor {name}: the file is damaged or belongs to another model."
            )
        data, spec = self._tensors[name]
        begin, end = spec["data_offsets"]
        return safetensors_file.to_float32(data[begin:end], spec["dtype"], spec["shape"])

    def has_bias(self, index: int, projection: str) -> bool:
        return bias_name(index, projection) in self._tensors
