"""Backward passes written by hand against what autograd derives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from overtone.model.custom_backward import gated, rms_norm, split_and_rotate
from overtone.model.rope import Rope
from overtone.model.rotation import make_tables, rotate

WEIGHT = torch.rand(12) + 0.5
SIZES = (3, 2, 2)


def plain_gated(activation: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        gate, up = x.chunk(2, dim=1)
        return activation(gate) * up

    return run


def tables(rotated: int) -> tuple[Tensor, Tensor]:
    inv_freq = tuple(torch.rand(rotated // 2).tolist())
    return make_tables(Rope(inv_freq, 1.3), torch.arange(5), torch.float32)


def split(x_TNK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.cat(split_and_rotate(x_TNK, SIZES, cos, sin), dim=1)


def plain_split(x_TNK: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return torch.cat((rotate(x_TNK[:, :3], cos, sin), rotate(x_TNK[:, 3:5], cos, sin), x_TNK[:, 5:]), dim=1)


WHOLE, PARTIAL = tables(8), tables(6)
CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "norm": (lambda x: rms_norm(x, WEIGHT, 1e-2), lambda x: F.rms_norm(x, (12,), WEIGHT, 1e-2), (5, 12)),
    "heads": (lambda x: rms_norm(x, WEIGHT, 0), lambda x: F.rms_norm(x, (12,), WEIGHT, 0), (5, 3, 12)),
    "silu": (lambda x: gated(x, "silu"), plain_gated(F.silu), (5, 8)),
    "gelu": (lambda x: gated(x, "gelu_tanh"), plain_gated(lambda x: F.gelu(x, approximate="tanh")), (5, 8)),
    "rotation": (lambda x: split(x, *WHOLE), lambda x: plain_split(x, *WHOLE), (5, 7, 8)),
    "partial rotation": (lambda x: split(x, *PARTIAL), lambda x: plain_split(x, *PARTIAL), (5, 7, 8)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_autograd_s(name: str) -> None:
    ours, plain, shape = CASES[name]
    x, y = torch.randn(shape, requires_grad=True), torch.randn(shape)
    expected = x.detach().clone().requires_grad_()

    torch.testing.assert_close(ours(x), plain(expected))
    weights = torch.randn(ours(x).shape)
    (ours(x) * weights).sum().backward()
    (plain(expected) * weights).sum().backward()
    torch.testing.assert_close(x.grad, expected.grad)
    torch.testing.assert_close(ours(y), plain(y))
