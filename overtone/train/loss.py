"""Cross-entropy over the vocabulary, at output tokens only and in chunks.

Logits are the largest tensor of a small model. They are computed for a chunk of rows, turned into the loss and the
rows' gradient at once, and discarded.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from overtone.model.decoder import Decoder

CHUNK_LOGITS = 1 << 24  # numbers in one chunk: 64 MB in float32


def output_loss(
    decoder: Decoder, hidden_ND: Tensor, targets_N: Tensor, weight_N: Tensor
) -> tuple[Tensor, Tensor]:
    """Return Σ weight · -log p(target), which is differentiable, and its terms, which are not."""
    total, terms_N = _apply(hidden_ND, decoder, targets_N, weight_N)
    return total, terms_N


def token_losses(decoder: Decoder, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
    """Return -log p(target) of every row, in chunks and without gradients."""
    num_rows = _chunk_rows(decoder)
    chunks = zip(torch.split(hidden_ND, num_rows), torch.split(targets_N, num_rows), strict=True)
    logits = ((decoder.logits(hidden_CD).float(), targets_C) for hidden_CD, targets_C in chunks)
    return torch.cat([F.cross_entropy(logits_CV, t_C, reduction="none") for logits_CV, t_C in logits])


def _chunk_rows(decoder: Decoder) -> int:
    return max(1, CHUNK_LOGITS // decoder.config.vocab_size)


class _OutputLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, decoder: Decoder, targets_N: Tensor, weight_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        grad_ND = torch.empty_like(hidden_ND)
        terms_N = torch.empty_like(weight_N)
        num_rows = _chunk_rows(decoder)
        for start in range(0, len(hidden_ND), num_rows):
            rows = slice(start, start + num_rows)
            hidden_CD = hidden_ND[rows].detach().requires_grad_()
            with torch.enable_grad():
                logits_CV = decoder.logits(hidden_CD).float()
                loss_C = F.cross_entropy(logits_CV, targets_N[rows], reduction="none") * weight_N[rows]
                total = loss_C.sum()
            (grad_ND[rows],) = torch.autograd.grad(total, hidden_CD)
            terms_N[rows] = loss_C.detach()
        ctx.save_for_backward(grad_ND)
        ctx.mark_non_differentiable(terms_N)
        return terms_N.sum(), terms_N

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (grad_ND,) = ctx.saved_tensors
        return grad_ND * grad, None, None, None


_apply: Any = _OutputLoss.apply
