"""Trainable LoRA (arXiv:2106.09685) on the decoder's frozen, joined projections, for several adapters at once.

All matrices of a job are in one flat float32 tensor and their gradients in another, so an optimiser step or a
checkpoint is one operation, not four hundred. A joined projection with its adapters is one autograd node with a
custom backward:

    y = x Wᵀ + bias,      y[rows, part] += scale · (x[rows] Aᵀ) Bᵀ     for each job's rows, each module's part
    dx = g W,             dx[rows] += du A          with du = scale · g[rows, part] B
    dA += duᵀ x[rows],    dB += scale · g[rows, part]ᵀ u                 with u = x[rows] Aᵀ

W is frozen: it gets no gradient and no transposed copy. The adapter is computed in float32, whatever the base's
dtype.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from overtone.model.adapter import Adapter, Place
from overtone.model.decoder import Decoder, Project
from overtone.model.decoder_config import DecoderConfig
from overtone.model.projections import JOINED, module_sizes


@dataclass(frozen=True)
class Pair:
    """One projection's part of an adapter, as views: the stacked A of all its modules, and each module's B."""

    a_RI: Tensor  # R: number of modules · rank
    b_OR: tuple[Tensor, ...]  # one per module
    a_grad_RI: Tensor
    b_grad_OR: tuple[Tensor, ...]


class LoraWeights:
    """One job's trainable adapter: flat parameters and gradients, and the matrices as views of both."""

    def __init__(self, config: DecoderConfig, rank: int, alpha: float, device: torch.device | str = "cpu"):
        self.rank = rank
        self.alpha = alpha
        self._packed = config.family.packed
        self._sizes = module_sizes(config)
        self._num_layers = config.num_layers
        num_parameters = config.num_layers * rank * sum(i + o for i, o in self._sizes.values())
        self.flat = torch.zeros(num_parameters, device=device)
        self.flat.grad = torch.zeros_like(self.flat)
        self.pairs: dict[Place, Pair] = {}
        self._carve()

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def grad(self) -> Tensor:
        assert self.flat.grad is not None
        return self.flat.grad

    def randomise(self, seed: int) -> None:
        """Initialise a new adapter: A uniform in ±1/sqrt(I), as in peft, and B zero, so it starts as the base."""
        generator = torch.Generator().manual_seed(seed)
        self.flat.zero_()
        for pair in self.pairs.values():
            bound = pair.a_RI.shape[1] ** -0.5
            pair.a_RI.data.copy_((torch.rand(pair.a_RI.shape, generator=generator) * 2 - 1) * bound)

    def copy_from(self, adapter: Adapter) -> None:
        """Load an adapter of the same rank. Places that it does not have stay unchanged."""
        for place, a_RI, b_OR in self._matrices():
            if place in adapter.a:
                a_RI.copy_(torch.from_numpy(adapter.a[place]))
                b_OR.copy_(torch.from_numpy(adapter.b[place]))

    def to_adapter(self) -> Adapter:
        """Return a copy as an Adapter, which can be saved and served."""
        adapter = Adapter(self.rank, self.alpha, packed=self._packed)
        for place, a_RI, b_OR in self._matrices():
            adapter.a[place] = a_RI.cpu().numpy().copy()
            adapter.b[place] = b_OR.cpu().numpy().copy()
        return adapter

    def _carve(self) -> None:
        """Split the flat tensors by layer and projection: the stacked A, then every B."""
        start = 0

        def cut(*shape: int) -> tuple[Tensor, Tensor]:
            nonlocal start
            part = slice(start, start := start + shape[0] * shape[1])
            return self.flat[part].view(shape).requires_grad_(), self.grad[part].view(shape)

        for layer in range(self._num_layers):
            for name, modules in JOINED.items():
                a_RI, a_grad_RI = cut(len(modules) * self.rank, self._sizes[modules[0]][0])
                cuts = [cut(self._sizes[module][1], self.rank) for module in modules]
                b_OR, b_grad_OR = zip(*cuts, strict=True)
                self.pairs[layer, name] = Pair(a_RI, b_OR, a_grad_RI, b_grad_OR)

    def _matrices(self) -> Iterator[tuple[Place, Tensor, Tensor]]:
        for (layer, name), pair in self.pairs.items():
            a_parts = torch.split(pair.a_RI.detach(), self.rank)
            for module, a_RI, b_OR in zip(JOINED[name], a_parts, pair.b_OR, strict=True):
                yield (layer, module), a_RI, b_OR.detach()


@dataclass(frozen=True)
class JobRows:
    """The rows of one adapter: their position among all rows, and among the kept ones."""

    lora: LoraWeights
    rows: slice
    kept_rows: slice | None = None  # needed if the decoder's forward gets `keep`

    def find_rows(self, past_keep: bool) -> slice:
        return self.kept_rows if past_keep and self.kept_rows is not None else self.rows


def project_with(decoder: Decoder, jobs: Sequence[JobRows]) -> Project:
    """Return a `Project` that applies the base and each job's own adapter to its rows."""

    def project(layer: int, name: str, x_TI: Tensor) -> Tensor:
        base = decoder.layers[layer]
        past_keep = layer == decoder.config.num_layers - 1 and name != "qkv"
        shares = [(job.find_rows(past_keep), job.lora.scale, job.lora.pairs[layer, name]) for job in jobs]
        trained = [matrix for _, _, pair in shares for matrix in (pair.a_RI, *pair.b_OR)]
        y_TO: Tensor = _apply(x_TI, base.weights[name], base.biases.get(name), shares, *trained)
        return y_TO

    return project


class _LoraProjection(torch.autograd.Function):
    """The formulas above. Gradients of A and B are added directly to their buffers, not returned."""

    @staticmethod
    def forward(
        ctx: Any, x_TI: Tensor, weight_OI: Tensor, bias_O: Tensor | None, shares: Any, *_: Tensor
    ) -> Tensor:
        y_TO = F.linear(x_TI, weight_OI, bias_O)
        ctx.shares = shares
        us = []
        for rows, scale, pair in shares:
            u_TR = x_TI[rows].to(pair.a_RI.dtype) @ pair.a_RI.T
            us.append(u_TR)
            for columns, ranks, b_OR in _parts(pair.b_OR):
                _add_product(y_TO[rows, columns], u_TR[:, ranks], b_OR.T, scale)
        ctx.save_for_backward(x_TI, weight_OI, *us)
        return y_TO

    @staticmethod
    def backward(ctx: Any, g_TO: Tensor) -> tuple[Tensor | None, ...]:
        x_TI, weight_OI, *us = ctx.saved_tensors
        dx_TI = g_TO @ weight_OI if ctx.needs_input_grad[0] else None
        for (rows, scale, pair), u_TR in zip(ctx.shares, us, strict=True):
            g_rows_TO, x_rows_TI = g_TO[rows].to(u_TR.dtype), x_TI[rows].to(u_TR.dtype)
            du_TR = torch.empty_like(u_TR)
            for (columns, ranks, b_OR), b_grad_OR in zip(_parts(pair.b_OR), pair.b_grad_OR, strict=True):
                g_part_TO = g_rows_TO[:, columns]
                torch.mm(g_part_TO, b_OR, out=du_TR[:, ranks])
                b_grad_OR.addmm_(g_part_TO.T, u_TR[:, ranks], alpha=scale)
            pair.a_grad_RI.addmm_(du_TR.T, x_rows_TI, alpha=scale)
            if dx_TI is not None:
                _add_product(dx_TI[rows], du_TR, pair.a_RI, scale)
        return dx_TI, *(None,) * (len(ctx.needs_input_grad) - 1)


_apply: Any = _LoraProjection.apply


def _parts(b_OR: Sequence[Tensor]) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield each module's columns of y, its columns of u, and its B."""
    column = rank = 0
    for b in b_OR:
        yield slice(column, column := column + b.shape[0]), slice(rank, rank := rank + b.shape[1]), b


def _add_product(y: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    """y += scale · left right, in place; the product is computed in the adapter's precision."""
    if y.dtype == left.dtype:
        y.addmm_(left, right, alpha=scale)
    else:
        y.add_(left @ right, alpha=scale)
