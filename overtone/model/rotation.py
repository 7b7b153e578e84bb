"""The rotation of queries and keys (RoPE, arXiv:2104.09864) with PyTorch; rope.py has the frequencies."""

from __future__ import annotations

import torch
from torch import Tensor

from overtone.model.rope import Rope


def make_tables(rope: Rope, positions_T: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cos_T1R and sin_T1R for `rotate`. The first half of each sine row has the minus sign."""
    inv_freq = torch.tensor(rope.inv_freq, dtype=torch.float32, device=positions_T.device)
    angles_TF = positions_T[:, None].float() * inv_freq
    cos_TF, sin_TF = angles_TF.cos() * rope.magnitude, angles_TF.sin() * rope.magnitude
    cos_T1R = torch.cat((cos_TF, cos_TF), dim=-1)[:, None]
    sin_T1R = torch.cat((-sin_TF, sin_TF), dim=-1)[:, None]
    return cos_T1R.to(dtype), sin_T1R.to(dtype)


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
