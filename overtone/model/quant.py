"""blocks.safetensors: a base's own quantised weights, as tiles for the kernels (kernels/tiles.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from overtone.errors import OvertoneError
from overtone.kernels.tiles import Q4, Q8, TILE, Kind, Tiles, pack_q4, pack_q8


class QuantBlockFile:
    """blocks.safetensors of a base: the quantised weights by Hugging Face's names."""

    def __init__(self, base_folder: Path):
        """Open the file. Raises OvertoneError if it is damaged."""
        path = base_folder / "blocks.safetensors"
        try:
            self._file: Any = safe_open(path, framework="np")
        except (OSError, SafetensorError) as error:
            raise OvertoneError(f"{path} is missing or damaged ({error}); pull the base again.") from error
        self._names: set[str] = set(self._file.keys())  # type: ignore[no-untyped-call]

    def kind_of(self, name: str) -> Kind | None:
        """Return a matrix's kind of block; None if it has none, or its size is not whole tiles."""
        if f"{name}.q" not in self._names:
            return None
        num_outputs, _ = self._file.get_slice(f"{name}.d").get_shape()
        return None if num_outputs % TILE else Q4 if f"{name}.m" in self._names else Q8

    def load(self, *names: str) -> Tiles:
        """Return matrices of one kind as tiles, with their rows stacked."""
        parts = [self._parts(name) for name in names]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return pack_q4(*columns) if len(columns) == 3 else pack_q8(*columns)

    def _parts(self, name: str) -> list[NDArray[Any]]:
        suffixes = ("q", "d", "m") if f"{name}.m" in self._names else ("q", "d")
        return [self._file.get_tensor(f"{name}.{suffix}") for suffix in suffixes]
