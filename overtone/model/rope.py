"""Rotary position embeddings (RoPE, arXiv:2104.09864) and their scaling to longer texts.

The frequencies follow transformers' `modeling_rope_utils`, with which the models were published. Scalings that
depend on the length of the current text (dynamic, longrope) are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from overtone.errors import OvertoneError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Rope:
    """The rotation of queries and keys in one kind of layer."""

    inv_freq: tuple[float, ...]  # one angle per pair of features and position
    magnitude: float = 1.0  # factor on cos and sin (YaRN's attention factor)

    def tables(self, positions_T: Array) -> tuple[Array, Array]:
        """Return cos_TF and sin_TF in float32, rounded from float64: the same on every processor."""
        angles_TF = positions_T[:, None].astype(np.float32) * np.array(self.inv_freq, np.float32)
        cos_TF, sin_TF = (
            table(angles_TF.astype(np.float64)).astype(np.float32) for table in (np.cos, np.sin)
        )
        return cos_TF * np.float32(self.magnitude), sin_TF * np.float32(self.magnitude)

    @classmethod
    def parse(cls, parameters: Mapping[str, Any], head_size: int) -> Rope:
        """Read `rope_parameters` of a config.json, or the older `rope_theta` and `rope_scaling`, merged."""
        kind = parameters.get("rope_type") or parameters.get("type") or "default"
        if kind not in SCALINGS:
            raise OvertoneError(
                f"The rope type {kind!r} of this model is not supported; supported are {', '.join(SCALINGS)}."
            )
        rotated = int(head_size * parameters.get("partial_rotary_factor", 1.0))
        exponents = np.arange(0, rotated, 2, dtype=np.float32) / rotated
        with np.errstate(all="ignore"):  # of senseless parameters, as PyTorch does
            powers = np.power(parameters["rope_theta"], exponents.astype(np.float64)).astype(np.float32)
            inv_freq, magnitude = SCALINGS[kind](1 / powers, parameters)
        return cls(tuple(inv_freq.tolist()), magnitude)


def _plain(inv_freq: Array, parameters: Mapping[str, Any]) -> tuple[Array, float]:
    return inv_freq, 1.0


def _linear(inv_freq: Array, parameters: Mapping[str, Any]) -> tuple[Array, float]:
    """Position interpolation, arXiv:2306.15595."""
    return inv_freq / parameters["factor"], 1.0


def _llama3(inv_freq: Array, parameters: Mapping[str, Any]) -> tuple[Array, float]:
    """Llama 3.1: high frequencies stay, low ones are scaled, those between are interpolated."""
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    waves_per_context = parameters["original_max_position_embeddings"] * inv_freq / (2 * math.pi)
    keep = np.clip((waves_per_context - low) / (high - low), 0, 1)
    return inv_freq * (keep + (1 - keep) / parameters["factor"]), 1.0


def _yarn(inv_freq: Array, parameters: Mapping[str, Any]) -> tuple[Array, float]:
    """YaRN, arXiv:2309.00071: a linear ramp over the features from no interpolation to full interpolation."""
    low, high = _yarn_range(parameters, num_features=2 * len(inv_freq))
    ramp = np.clip((np.arange(len(inv_freq), dtype=np.float32) - low) / (high - low), 0, 1)
    return inv_freq * (1 - ramp + ramp / parameters["factor"]), _yarn_magnitude(parameters)


def _yarn_range(parameters: Mapping[str, Any], num_features: int) -> tuple[float, float]:
    context = parameters["original_max_position_embeddings"]

    def feature(rotations: float) -> float:
        waves = math.log(context / (rotations * 2 * math.pi))
        return num_features * waves / (2 * math.log(parameters["rope_theta"]))

    low, high = feature(parameters.get("beta_fast") or 32), feature(parameters.get("beta_slow") or 1)
    if parameters.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, num_features - 1)
    return low, high + 0.001 if low == high else high


def _yarn_magnitude(parameters: Mapping[str, Any]) -> float:
    def magnitude(weight: float) -> float:
        return 0.1 * weight * math.log(parameters["factor"]) + 1.0 if parameters["factor"] > 1 else 1.0

    if parameters.get("attention_factor") is not None:
        return float(parameters["attention_factor"])
    over, under = parameters.get("mscale"), parameters.get("mscale_all_dim")
    return magnitude(over) / magnitude(under) if over and under else magnitude(1.0)


SCALINGS: dict[str, Callable[[Array, Mapping[str, Any]], tuple[Array, float]]] = {
    "default": _plain,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}
