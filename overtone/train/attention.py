"""Attention over packed documents: each token sees its own document up to itself, and the shared beginning.

Documents are short and many, or long and few. So the row is cut into pieces (a stretch of queries and the
keys they may see), pieces of similar size are computed together as one batched product, and a long document
is several pieces, none of which holds more than a strip of its score matrix. The backward pass computes the
scores again: cheaper than keeping them. Plain batched products beat scaled_dot_product_attention on a CPU
here, whose backward is slow for short documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from overtone.model.decoder import Attend
from overtone.model.decoder_config import DecoderConfig

MAX_QUERIES = 512  # of a piece
MAX_SCORES = 1 << 20  # of a group of pieces, per head
SIMILAR = 0.7  # pieces in a group are at least this large, measured by the largest
SMALL_SCORES = 1 << 12  # groups of pieces smaller than this are never worth splitting


@dataclass(frozen=True)
class Piece:
    """Neighbouring queries, and their document's keys: shared ones, then its own up to the last query."""

    queries: range
    keys: tuple[int, ...]

    @classmethod
    def cut(cls, shared: range, own: range) -> list[Piece]:
        """Cut a document whose own tokens follow `shared` ones into pieces."""
        starts = range(own.start, own.stop, MAX_QUERIES)
        ends = (min(start + MAX_QUERIES, own.stop) for start in starts)
        return [
            cls(range(start, end), (*shared, *range(own.start, end)))
            for start, end in zip(starts, ends, strict=True)
        ]


@dataclass(frozen=True)
class Spans:
    """B pieces of similar size. Places beyond a piece's end repeat its last token and count for nothing."""

    query_BL: Tensor  # rows of the queries
    key_BS: Tensor  # rows of the keys
    age_BLS: Tensor  # how many tokens before the query the key stands; negative: hidden
    valid_V: Tensor | None  # the flat places of real queries; None: all are
    masks: dict[int | None, Tensor] = field(default_factory=dict)  # by window, made when first asked for

    def mask_BLS(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """Return 0 where a query may look and minus infinity where not."""
        if window not in self.masks:
            hidden_BLS = self.age_BLS < 0
            if window is not None:
                hidden_BLS = hidden_BLS | (self.age_BLS >= window)
            zeros_BLS = torch.zeros(hidden_BLS.shape, dtype=dtype, device=hidden_BLS.device)
            self.masks[window] = zeros_BLS.masked_fill_(hidden_BLS, -torch.inf)
        return self.masks[window]

    def gather(self, x_TNK: Tensor, rows: Tensor) -> Tensor:
        """Return x_BNLK of the rows' tokens."""
        return x_TNK.index_select(0, rows.flatten()).view(*rows.shape, *x_TNK.shape[1:]).transpose(1, 2)

    def scatter_queries(self, out_BHLK: Tensor, out_THK: Tensor) -> None:
        """Put each real query's row in its place."""
        rows_BL, out_QHK = self.query_BL.flatten(), out_BHLK.transpose(1, 2).flatten(0, 1)
        if self.valid_V is not None:
            rows_BL, out_QHK = rows_BL[self.valid_V], out_QHK[self.valid_V]
        out_THK.index_copy_(0, rows_BL, out_QHK)

    def drop_padding(self, grad_BHLK: Tensor) -> Tensor:
        """Return the gradient with zeros where there is no real query."""
        if self.valid_V is None:
            return grad_BHLK
        real_BL = torch.zeros(self.query_BL.numel(), dtype=grad_BHLK.dtype, device=grad_BHLK.device)
        real_BL[self.valid_V] = 1
        return grad_BHLK * real_BL.view(len(self.query_BL), 1, -1, 1)

    def to(self, device: torch.device) -> Spans:
        valid_V = None if self.valid_V is None else self.valid_V.to(device)
        return Spans(self.query_BL.to(device), self.key_BS.to(device), self.age_BLS.to(device), valid_V)


def group_pieces(pieces: Sequence[Piece]) -> list[Spans]:
    """Put pieces of similar size together."""
    groups: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: (len(piece.keys), len(piece.queries)), reverse=True):
        if groups and _fits(groups[-1], piece):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    return [_to_spans(group) for group in groups]


def attend_packed(config: DecoderConfig, spans: Sequence[Spans]) -> Attend:
    """Return an `attend` over a packed row."""

    def attend(layer: int, q_THK: Tensor, k_TGK: Tensor, v_TGK: Tensor) -> Tensor:
        out_THK: Tensor = _apply(q_THK, k_TGK, v_TGK, spans, config, config.windows[layer])
        return out_THK

    return attend


class _PackedAttention(torch.autograd.Function):
    """Scores are computed twice, forward and backward, and never kept."""

    @staticmethod
    def forward(
        ctx: Any, q_THK: Tensor, k_TGK: Tensor, v_TGK: Tensor,
        spans: Sequence[Spans], config: DecoderConfig, window: int | None,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(q_THK, k_TGK, v_TGK)
        ctx.rest = spans, config, window
        out_THK = torch.empty(q_THK.shape, dtype=q_THK.dtype, device=q_THK.device)
        for span in spans:
            gathered = _gather(span, q_THK, k_TGK, v_TGK)
            span.scatter_queries(_attention(*gathered, span.mask_BLS(window, q_THK.dtype), config), out_THK)
        return out_THK

    @staticmethod
    def backward(ctx: Any, grad_THK: Tensor) -> tuple[Tensor | None, ...]:
        spans, config, window = ctx.rest
        q_THK, k_TGK, v_TGK = saved = ctx.saved_tensors
        dq_THK, dk_TGK, dv_TGK = (torch.zeros(x.shape, dtype=x.dtype, device=x.device) for x in saved)
        for span in spans:
            q_BHLK, k_BGSK, v_BGSK = (x.requires_grad_() for x in _gather(span, q_THK, k_TGK, v_TGK))
            with torch.enable_grad():
                mask_BLS = span.mask_BLS(window, q_THK.dtype)
                out_BHLK = _attention(q_BHLK, k_BGSK, v_BGSK, mask_BLS, config)
            grad_BHLK = span.drop_padding(span.gather(grad_THK, span.query_BL))
            dq_BHLK, dk_BGSK, dv_BGSK = torch.autograd.grad(out_BHLK, (q_BHLK, k_BGSK, v_BGSK), grad_BHLK)
            span.scatter_queries(dq_BHLK, dq_THK)
            key_rows = span.key_BS.flatten()
            dk_TGK.index_add_(0, key_rows, dk_BGSK.transpose(1, 2).flatten(0, 1))
            dv_TGK.index_add_(0, key_rows, dv_BGSK.transpose(1, 2).flatten(0, 1))
        return dq_THK, dk_TGK, dv_TGK, None, None, None


_apply: Any = _PackedAttention.apply


def _gather(span: Spans, q_THK: Tensor, k_TGK: Tensor, v_TGK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return span.gather(q_THK, span.query_BL), span.gather(k_TGK, span.key_BS), span.gather(v_TGK, span.key_BS)


def _attention(
    q_BHLK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask_BLS: Tensor, config: DecoderConfig
) -> Tensor:
    """softmax(q kᵀ scale + mask) v, the H / G query heads of a key head side by side in one product."""
    batch, heads, length, size = q_BHLK.shape
    groups = k_BGSK.shape[1]
    q_BGQK = (q_BHLK * config.scale).reshape(batch, groups, heads // groups * length, size)
    scores_BGRLS = (q_BGQK @ k_BGSK.transpose(2, 3)).view(batch, groups, heads // groups, length, -1)
    if config.attn_softcap is not None:
        scores_BGRLS = torch.tanh(scores_BGRLS / config.attn_softcap) * config.attn_softcap
    weights_BGRLS = (scores_BGRLS + mask_BLS[:, None, None]).softmax(-1)
    return (weights_BGRLS.flatten(2, 3) @ v_BGSK).view(batch, heads, length, size)


def _fits(group: Sequence[Piece], piece: Piece) -> bool:
    """Say whether a piece, no larger than those in the group, may be padded to the first one's size."""
    num_queries = max(len(other.queries) for other in group)
    num_keys = len(group[0].keys)
    if max(num_queries, len(piece.queries)) * num_keys * (len(group) + 1) > MAX_SCORES:
        return False
    similar = min(len(piece.queries), num_queries) >= SIMILAR * max(len(piece.queries), num_queries)
    small = max(num_queries, len(piece.queries)) * num_keys <= SMALL_SCORES
    return small or (similar and len(piece.keys) >= SIMILAR * num_keys)


def _to_spans(group: Sequence[Piece]) -> Spans:
    query_BL = _padded([piece.queries for piece in group])
    key_BS = _padded([piece.keys for piece in group])
    place_BS = torch.arange(key_BS.shape[1]).expand(key_BS.shape)
    num_keys_B, num_queries_B = _lengths([p.keys for p in group]), _lengths([p.queries for p in group])
    query_place_BL = torch.arange(query_BL.shape[1]).clamp(max=num_queries_B[:, None] - 1)
    query_place_BL = query_place_BL + (num_keys_B - num_queries_B)[:, None]
    age_BLS = query_place_BL[:, :, None] - place_BS[:, None, :]
    real_BL = torch.arange(query_BL.shape[1]) < num_queries_B[:, None]
    valid_V = None if bool(real_BL.all()) else real_BL.flatten().nonzero()[:, 0]
    return Spans(query_BL, key_BS, age_BLS, valid_V)


def _lengths(rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor([len(row) for row in rows])


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Return the rows as a tensor, short ones filled with their last number.

    Not with any other: a neighbour's token could carry an infinity into this document.
    """
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in rows])
