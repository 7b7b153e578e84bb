"""The optimiser's two ways against torch's AdamW, and against themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from overtone.kernels.adamw import CHUNK
from overtone.train.optimiser import Adam, Optimiser

ADAM = Adam(weight_decay=0.1, max_grad_norm=2.0)
SIZE = 2 * CHUNK + 37  # the last chunk is short
RATES = [0.01, 0.01, 0.002, 0.03]


def gradients() -> Iterator[Tensor]:
    """Long ones, which are shortened, and short ones, which are not."""
    generator = torch.Generator().manual_seed(1)
    for scale in (1.0, 0.001, 0.5, 0.002):
        yield torch.randn(SIZE, generator=generator) * scale


def by_torch() -> tuple[Tensor, list[float]]:
    parameters, norms = start().requires_grad_(), []
    oracle = torch.optim.AdamW([parameters], weight_decay=ADAM.weight_decay)
    for rate, gradient in zip(RATES, gradients(), strict=True):
        parameters.grad, oracle.param_groups[0]["lr"] = gradient, rate
        norms.append(float(torch.nn.utils.clip_grad_norm_([parameters], ADAM.max_grad_norm)))
        oracle.step()
    return parameters.detach(), norms


def start() -> Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(0))


def by_ours() -> tuple[Tensor, list[float]]:
    parameters, gradient, norms = start(), torch.zeros(SIZE), []
    optimiser = Optimiser(parameters, gradient, ADAM)
    for number, (rate, given) in enumerate(zip(RATES, gradients(), strict=True), start=1):
        gradient.copy_(given)
        norms.append(optimiser.step(rate, number))
        assert not gradient.any()
    return parameters, norms


@pytest.mark.parametrize("compiled", [True, False])
def test_a_step_is_that_of_torch(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(Optimiser, "_compiled_step", Optimiser._plain_step)
    ours, our_norms = by_ours()
    theirs, their_norms = by_torch()
    assert our_norms == pytest.approx(their_norms, rel=1e-5)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    for num_threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=num_threads: count)
        found.append(by_ours())
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_a_gradient_that_is_not_finite_is_told() -> None:
    gradient = torch.zeros(SIZE)
    gradient[5] = float("nan")
    assert math.isnan(Optimiser(start(), gradient, ADAM).step(0.01, 1))
