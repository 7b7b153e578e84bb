"""Adapter files: LoRA weights (arXiv:2106.09685) in the layout that peft reads and writes.

A folder holds adapter_config.json and adapter_model.safetensors. The SHA-256 of the latter is the adapter's
identity. Features of peft that are not supported (DoRA, ranks by module, fully trained modules) are refused by
name, never ignored. If the base has packed modules (Phi-3's qkv_proj), the file has them too (packed_modules.py).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from overtone.disk import sync_file, sync_folder
from overtone.errors import OvertoneError
from overtone.model import packed_modules
from overtone.model.projections import PACKED_PARTS, PARENTS, module_path
from overtone.model.safetensors_file import Entry, Hashing, array_entry, to_float32, write

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
KEY = re.compile(
    r"base_model\.model\.(?:model\.)?layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)\.lora_([AB])\.weight"
)
NOT_COMPUTED = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "trainable_token_indices")

Array = np.ndarray[Any, Any]
Place = tuple[int, str]
"""A layer's number and a module's name: the place of a pair of matrices."""


@dataclass
class Adapter:
    """Low-rank updates of a base: y += alpha / rank · (x Aᵀ) Bᵀ at every place that has a pair."""

    rank: int
    alpha: float
    a: dict[Place, Array] = field(default_factory=dict)  # A_RI, float32
    b: dict[Place, Array] = field(default_factory=dict)  # B_OR, float32
    packed: bool = False  # in the file; here each module has its own pair

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def save_adapter(folder: Path, adapter: Adapter, base_id: str, base_revision: str = "") -> str:
    """Write the adapter, completely or not at all, and return its digest (SHA-256, hex).

    An adapter that is already in `folder` is replaced: it can only be from an earlier attempt at the same result. The
    parent folder must exist; the folder of a deleted model is not created again.
    """
    a, b = packed_modules.pack(adapter.a, adapter.b) if adapter.packed else (adapter.a, adapter.b)
    config = _config(adapter, sorted({module for _, module in a}), base_id, base_revision)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with (partial / CONFIG).open("w", encoding="utf-8") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        sync_file(file)
    digest = _save_weights(partial / WEIGHTS, [*_entries(a, "A"), *_entries(b, "B")])
    sync_folder(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    sync_folder(folder.parent)
    return digest


def load_adapter(folder: Path, expected_digest: str | None = None, base_id: str | None = None) -> Adapter:
    """Read an adapter.

    Raises OvertoneError if a file is missing or damaged, has not the expected digest, belongs to another base, or
    uses a variant of LoRA that is not supported.
    """
    weights = _read(folder / WEIGHTS)
    config = _parse_config(folder)
    if expected_digest and hashlib.sha256(weights).hexdigest() != expected_digest:
        raise OvertoneError(f"The adapter in {folder} is not the one that was stored: its digest differs.")
    given = config.get("base_model_name_or_path")
    if base_id and given and given != base_id:
        raise OvertoneError(f"The adapter in {folder} belongs to the base {given}, not to {base_id}.")
    adapter = Adapter(config["r"], _alpha(config))
    for place, side, tensor in _parse_weights(folder, weights):
        (adapter.a if side == "A" else adapter.b)[place] = tensor
    _unpack_modules(folder, adapter)
    _check_pairs(folder, adapter)
    return adapter


def _entries(matrices: Mapping[Place, Array], side: str) -> Iterator[Entry]:
    for (layer, module), matrix in matrices.items():
        name = f"base_model.model.model.layers.{layer}.{module_path(module)}.lora_{side}.weight"
        yield array_entry(name, np.float32, matrix.shape, partial(np.asarray, matrix))


def _save_weights(path: Path, entries: Sequence[Entry]) -> str:
    """Write the matrices one by one. Return the file's digest."""
    with path.open("wb") as file:
        hashing = Hashing(file)
        write(hashing, entries, {"format": "pt"})
        sync_file(file)
    return hashing.hash.hexdigest()


def _config(adapter: Adapter, modules: list[str], base_id: str, base_revision: str) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_id,
        "revision": base_revision or None,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": modules,
        "inference_mode": True,
        **(packed_modules.patterns(adapter.rank, adapter.alpha) if adapter.packed else {}),
    }


def _parse_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads(_read(folder / CONFIG))
    except ValueError as error:
        raise OvertoneError(f"{folder / CONFIG} is damaged: {error}.") from None
    if (
        not isinstance(config, dict)
        or config.get("peft_type") != "LORA"
        or not isinstance(config.get("r"), int)
    ):
        raise OvertoneError(f"{folder / CONFIG} is not the config of a LoRA adapter.")
    ours = _our_patterns(config)
    for name in NOT_COMPUTED:
        if config.get(name) and name not in ours:
            raise OvertoneError(f"The adapter in {folder} uses {name}, which is not supported.")
    return config


def _our_patterns(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ranks and alphas by module if they are those that we write, else nothing."""
    patterns = packed_modules.patterns(config["r"], config.get("lora_alpha", 8))
    known = not config.get("use_rslora") and all(config.get(name) == patterns[name] for name in patterns)
    return patterns if known else {}


def _alpha(config: Mapping[str, Any]) -> float:
    """Return the alpha for scale = alpha / rank. Rank-stabilised LoRA divides by sqrt(rank) instead."""
    alpha = float(config.get("lora_alpha", 8))
    return alpha * math.sqrt(config["r"]) if config.get("use_rslora") else alpha


def _parse_weights(folder: Path, weights: bytes) -> Iterator[tuple[Place, str, Array]]:
    try:
        tensors = deserialize(weights)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise OvertoneError(f"{folder / WEIGHTS} is damaged: {error}.") from None
    for name, spec in tensors:
        match = KEY.fullmatch(name)
        if match is None or match[2] not in PARENTS:
            raise OvertoneError(f"The adapter in {folder} changes {name}, which is not supported.")
        try:
            matrix = to_float32(spec["data"], spec["dtype"], spec["shape"])
        except KeyError:
            raise OvertoneError(
                f"The adapter in {folder} holds numbers of the type {spec['dtype']}, which is not supported."
            ) from None
        yield (int(match[1]), match[2]), match[3], matrix


def _unpack_modules(folder: Path, adapter: Adapter) -> None:
    adapter.packed = any(module in PACKED_PARTS for _, module in adapter.a)
    if adapter.a.keys() != adapter.b.keys():
        return  # the file is damaged; a later check reports it
    try:
        adapter.a, adapter.b = packed_modules.unpack(adapter.a, adapter.b, adapter.rank)
    except ValueError as error:
        raise OvertoneError(
            f"The adapter in {folder} cannot be split by its packed modules: {error}."
        ) from None


def _check_pairs(folder: Path, adapter: Adapter) -> None:
    rank = adapter.rank
    pairs = [(a_RI, adapter.b.get(place)) for place, a_RI in adapter.a.items()]
    fit = (b_OR is not None and len(a_RI) == rank == b_OR.shape[1] for a_RI, b_OR in pairs)
    if adapter.a.keys() != adapter.b.keys() or not all(fit):
        raise OvertoneError(
            f"The adapter in {folder} is damaged: matrices do not pair up at rank {adapter.rank}."
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OvertoneError(f"{path} cannot be read: {error.strerror}.") from None
