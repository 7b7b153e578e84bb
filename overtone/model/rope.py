"""Rotary position embeddings (RoPE, arXiv:2104.09864) and their scaling to longer texts.

The frequencies follow transformers' `modeling_rope_utils`, with which the models were published. Scalings that
depend on the length of the current text (dynamic, longrope) are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from overtone.errors import OvertoneError


@dataclass(frozen=True)
class Rope:
    """The rotation of queries and keys in one kind of layer."""

    inv_freq: tuple[float, ...]  # one angle per pair of features and position
    magnitude: float = 1.0  # factor on cos and sin (YaRN's attention factor)

    def tables(self, positions_T: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cos_T1R and sin_T1R for `rotate`. The first half of each sine row has the minus sign."""
        inv_freq = torch.tensor(self.inv_freq, dtype=torch.float32, device=positions_T.device)
        angles_TF = positions_T[:, None].float() * inv_freq
        cos_TF, sin_TF = angles_TF.cos() * self.magnitude, angles_TF.sin() * self.magnitude
        cos_T1R = torch.cat((cos_TF, cos_TF), dim=-1)[:, None]
        sin_T1R = torch.cat((-sin_TF, sin_TF), dim=-1)[:, None]
        return cos_T1R.to(dtype), sin_T1R.to(dtype)

    @classmethod
    def parse(cls, parameters: Mapping[str, Any], head_size: int) -> Rope:
        """Read `rope_parameters` of a config.json, or the older `rope_theta` and `rope_scaling`, merged."""
        kind = parameters.get("rope_type") or parameters.get("type") or "default"
        if kind not in SCALINGS:
            raise OvertoneError(
                f"The rope type {kind!r} of this model is not supported; supported are {', '.join(SCALINGS)}."
            )
        rotated = int(head_size * parameters.get("partial_rotary_factor", 1.0))
        exponents = torch.arange(0, rotated, 2, dtype=torch.int64).float() / rotated
        inv_freq, magnitude = SCALINGS[kind](1.0 / (parameters["rope_theta"] ** exponents), parameters)
        return cls(tuple(inv_freq.tolist()), magnitude)


def rotate(x_TNK: Tensor, cos_T1R: Tensor, sin_T1R: Tensor) -> Tensor:
    """Rotate every head's first R features by its token's angle: x cos + swap_halves(x) sin."""
    size = cos_T1R.shape[-1]
    x_TNR = x_TNK[..., :size]
    rotated_TNR = torch.addcmul(x_TNR * cos_T1R, x_TNR.roll(size // 2, -1), sin_T1R)
    return rotated_TNR if size == x_TNK.shape[-1] else torch.cat((rotated_TNR, x_TNK[..., size:]), dim=-1)


def rotate_back(g_TNK: Tensor, cos_T1R: Tensor, sin_T1R: Tensor) -> Tensor:
    """Return the gradient of `rotate`'s input: the transposed rotation."""
    size = cos_T1R.shape[-1]
    g_TNR = g_TNK[..., :size]
    back_TNR = torch.addcmul((g_TNR * sin_T1R).roll(size // 2, -1), g_TNR, cos_T1R)
    return back_TNR if size == g_TNK.shape[-1] else torch.cat((back_TNR, g_TNK[..., size:]), dim=-1)


def _plain(inv_freq: Tensor, parameters: Mapping[str, Any]) -> tuple[Tensor, float]:
    return inv_freq, 1.0


def _linear(inv_freq: Tensor, parameters: Mapping[str, Any]) -> tuple[Tensor, float]:
    """Position interpolation, arXiv:2306.15595."""
    return inv_freq / parameters["factor"], 1.0


def _llama3(inv_freq: Tensor, parameters: Mapping[str, Any]) -> tuple[Tensor, float]:
    """Llama 3.1: high frequencies stay, low ones are scaled, those between are interpolated."""
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    waves_per_context = parameters["original_max_position_embeddings"] * inv_freq / (2 * math.pi)
    keep = ((waves_per_context - low) / (high - low)).clamp(0, 1)
    return inv_freq * (keep + (1 - keep) / parameters["factor"]), 1.0


def _yarn(inv_freq: Tensor, parameters: Mapping[str, Any]) -> tuple[Tensor, float]:
    """YaRN, arXiv:2309.00071: a linear ramp over the features from no interpolation to full interpolation."""
    low, high = _yarn_range(parameters, num_features=2 * len(inv_freq))
    ramp = ((torch.arange(len(inv_freq)) - low) / (high - low)).clamp(0, 1)
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


SCALINGS: dict[str, Callable[[Tensor, Mapping[str, Any]], tuple[Tensor, float]]] = {
    "default": _plain,
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
}
