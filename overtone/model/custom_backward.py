"""The decoder's small operations with a custom backward: norm, activation, rotary split.

At fifty tokens, half of a layer's time is matrix products and half is everything else, for which autograd records
many tiny operations. Here each is only a few. The base is frozen, so norms get no gradient. When no gradient is
needed (serving), they are the plain operations.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from overtone.model.rotation import rotate, rotate_back

Parts = tuple[Tensor, Tensor, Tensor]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return x / sqrt(mean(x²) + eps) · weight over the last dimension (arXiv:1910.07467)."""
    if not _needs_grad(x):
        return F.rms_norm(x, weight.shape, weight, eps)
    y: Tensor = _RmsNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return y


def gated(gate_up_TO: Tensor, activation: str) -> Tensor:
    """Return activation(gate) · up; gate is the first half of the columns, up the second."""
    if not _needs_grad(gate_up_TO):
        gate_TI, up_TI = gate_up_TO.chunk(2, dim=1)
        return _activate(gate_TI, activation) * up_TI
    y_TI: Tensor = _Gated.apply(gate_up_TO, activation)  # type: ignore[no-untyped-call]
    return y_TI


def split_and_rotate(qkv_TNK: Tensor, sizes: tuple[int, int, int], cos_T1R: Tensor, sin_T1R: Tensor) -> Parts:
    """Return queries, keys and values of these numbers of heads, the first two rotated by position."""
    if not _needs_grad(qkv_TNK):
        return _split_and_rotate(qkv_TNK, sizes, cos_T1R, sin_T1R)
    parts: Parts = _SplitAndRotate.apply(qkv_TNK, sizes, cos_T1R, sin_T1R)  # type: ignore[no-untyped-call]
    return parts


class _RmsNorm(torch.autograd.Function):
    """With n = x · r, r = 1 / sqrt(mean(x²) + eps):  dx = r (g w - n mean(g w n))."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        scale = (
            torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
            .square_()
            .div_(x.shape[-1])
            .add_(eps)
            .rsqrt_()
        )
        normed = wide * scale
        ctx.save_for_backward(normed, scale, weight)
        y: Tensor = normed.to(x.dtype) * weight
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        normed, scale, weight = ctx.saved_tensors
        gw = (g * weight).float()
        mean = (gw * normed).mean(-1, keepdim=True)
        return gw.addcmul_(normed, mean, value=-1).mul_(scale).to(g.dtype), None, None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up_TO: Tensor, activation: str) -> Tensor:
        ctx.save_for_backward(gate_up_TO)
        ctx.activation = activation
        gate_TI, up_TI = gate_up_TO.chunk(2, dim=1)
        return _activate(gate_TI, activation).mul_(up_TI)

    @staticmethod
    def backward(ctx: Any, g_TI: Tensor) -> tuple[Tensor | None, ...]:
        (gate_up_TO,) = ctx.saved_tensors
        gate_TI, up_TI = gate_up_TO.chunk(2, dim=1)
        d_TO = torch.empty_like(gate_up_TO)
        d_gate_TI, d_up_TI = d_TO.chunk(2, dim=1)
        torch.mul(g_TI, _activate(gate_TI, ctx.activation), out=d_up_TI)
        _activate_backward(g_TI * up_TI, gate_TI, ctx.activation, out=d_gate_TI)
        return d_TO, None


class _SplitAndRotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, qkv_TNK: Tensor, sizes: tuple[int, int, int], cos_T1R: Tensor, sin_T1R: Tensor
    ) -> Parts:
        ctx.save_for_backward(cos_T1R, sin_T1R)
        return _split_and_rotate(qkv_TNK, sizes, cos_T1R, sin_T1R)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_q_THK, d_k_TGK, d_v_TGK = grads
        rotated_TNK = torch.cat((d_q_THK, d_k_TGK), dim=1)
        return torch.cat((rotate_back(rotated_TNK, *ctx.saved_tensors), d_v_TGK), dim=1), None, None, None


def _split_and_rotate(
    qkv_TNK: Tensor, sizes: tuple[int, int, int], cos_T1R: Tensor, sin_T1R: Tensor
) -> Parts:
    """Rotate queries and keys, which are adjacent in the row, together."""
    rotated_TNK = rotate(qkv_TNK[:, : sizes[0] + sizes[1]], cos_T1R, sin_T1R)
    return rotated_TNK[:, : sizes[0]], rotated_TNK[:, sizes[0] :], qkv_TNK[:, sizes[0] + sizes[1] :]


def _needs_grad(x: Tensor) -> bool:
    return x.requires_grad and torch.is_grad_enabled()


def _activate(gate: Tensor, activation: str) -> Tensor:
    return F.silu(gate) if activation == "silu" else F.gelu(gate, approximate="tanh")


def _activate_backward(g: Tensor, gate: Tensor, activation: str, out: Tensor) -> None:
    """Write g · activation'(gate) to `out`."""
    if activation == "silu":
        torch.ops.aten.silu_backward.grad_input(g, gate, grad_input=out)
    else:
        torch.ops.aten.gelu_backward.grad_input(g, gate, approximate="tanh", grad_input=out)
