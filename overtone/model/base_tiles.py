"""A base's matrices as tiles for the kernels: the file's quant blocks, or floats rounded to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from overtone.kernels.tiles import Q8, Kind, Tiles, quantise_q8
from overtone.model.decoder_config import DecoderConfig
from overtone.model.projections import JOINED, module_path
from overtone.model.quant import QuantBlockFile
from overtone.model.weight_arrays import WeightArrays


@dataclass(frozen=True)
class LayerTiles:
    """The projections of all layers, in one kind of quant block: joined projection → [layer, tile, block, bytes]."""

    kind: Kind
    data: dict[str, NDArray[np.uint8]]


def read_layers(base_folder: Path, config: DecoderConfig) -> LayerTiles | None:
    """Return the base's quantised layers, or None if it has none, misses some matrix, or mixes kinds.

    Raises OvertoneError if the file is damaged.
    """
    kind = kind_of_layers(base_folder, config)
    blocks = _open(base_folder)
    if kind is None or blocks is None:
        return None
    names = _names_by_projection(config)
    return LayerTiles(
        kind, {projection: _stack([blocks.load(*n) for n in layers]) for projection, layers in names.items()}
    )


def kind_of_layers(base_folder: Path, config: DecoderConfig) -> Kind | None:
    """Return the kind of block that all matrices of all layers share, else None. Reads no weights."""
    blocks = _open(base_folder)
    if blocks is None:
        return None
    names = _names_by_projection(config).values()
    kinds = {blocks.kind_of(name) for layers in names for together in layers for name in together}
    return kinds.pop() if len(kinds) == 1 else None


def read_head(base_folder: Path, config: DecoderConfig) -> Tiles | None:
    """Return the head's own 8-bit blocks, if the base has any. Raises OvertoneError if the file is damaged."""
    blocks = _open(base_folder)
    name = _head(config)
    return blocks.load(name) if blocks is not None and blocks.kind_of(name) == Q8 else None


def round_layers(floats: WeightArrays, config: DecoderConfig) -> LayerTiles:
    """Round the layers to 8 bits."""

    def rounded(names: tuple[str, ...]) -> Tiles:
        return quantise_q8(np.concatenate([floats.get(name) for name in names]))

    names = _names_by_projection(config)
    return LayerTiles(Q8, {name: _stack([rounded(n) for n in layers]) for name, layers in names.items()})


def round_head(floats: WeightArrays, config: DecoderConfig) -> Tiles:
    """Round the head to 8 bits."""
    return quantise_q8(floats.get(_head(config)))


def _open(base_folder: Path) -> QuantBlockFile | None:
    return QuantBlockFile(base_folder) if (base_folder / "blocks.safetensors").exists() else None


def _names_by_projection(config: DecoderConfig) -> dict[str, list[tuple[str, ...]]]:
    return {projection: _names(projection, config.num_layers) for projection in JOINED}


def _names(projection: str, num_layers: int) -> list[tuple[str, ...]]:
    """Return, for each layer, the matrices that a joined projection consists of."""
    paths = [module_path(module) for module in JOINED[projection]]
    return [tuple(f"model.layers.{n}.{path}.weight" for path in paths) for n in range(num_layers)]


def _head(config: DecoderConfig) -> str:
    return "model.embed_tokens.weight" if config.tied else "lm_head.weight"


def _stack(layers: list[Tiles]) -> NDArray[np.uint8]:
    return np.stack([tiles.data for tiles in layers])
