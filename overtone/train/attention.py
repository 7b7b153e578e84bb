"""Attention over packed documents: each token sees its own document up to itself, and the shared prefix.

Documents are short and many, or long and few. If a job's documents have few tokens in total, they are one masked
product, which is cheaper than any bookkeeping. Otherwise the row is cut into chunks (a range of queries and the
keys they may see). Chunks of similar size share a bucket, which is computed as one batched product. A long document
becomes several chunks, each with only a part of the score matrix. The backward pass recomputes the scores, which is
cheaper than keeping them. On a CPU, batched products are faster here than scaled_dot_product_attention, whose
backward pass is slow for short documents.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from overtone.model.decoder import Attend
from overtone.model.decoder_config import DecoderConfig

DENSE_ROWS = 160  # a job with at most this many tokens in a pass is one dense bucket
MAX_QUERIES = 128  # in one chunk: its scores with 1,000 keys fit into the processor's cache
MAX_SCORES = 1 << 18  # in a bucket, per head
SIMILAR = 0.7  # every chunk in a bucket has at least this share of the largest one's size
SMALL_SCORES = 1 << 12  # chunks with fewer scores share a bucket whatever their sizes


@dataclass(frozen=True)
class Text:
    """Consecutive rows, each of which sees some shared rows before them and its own text up to itself."""

    shared: range
    own: range


@dataclass(frozen=True)
class QueryChunk:
    """Consecutive queries and their document's keys: the shared ones, then its own up to the last query."""

    queries: range
    keys: tuple[int, ...]

    @classmethod
    def cut(cls, text: Text) -> list[QueryChunk]:
        """Cut a text into chunks."""
        own = text.own
        starts = range(own.start, own.stop, MAX_QUERIES)
        ends = (min(start + MAX_QUERIES, own.stop) for start in starts)
        return [
            cls(range(start, end), (*text.shared, *range(own.start, end)))
            for start, end in zip(starts, ends, strict=True)
        ]


@dataclass(frozen=True)
class Bucket:
    """B ranges of queries with the keys they may see, computed as one product."""

    age_BLS: Tensor  # distance from the key to the query in tokens; negative: hidden
    masks: dict[int | None, Tensor] = field(default_factory=dict, kw_only=True)  # by window, as needed

    def mask_BLS(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """Return 0 where the query sees the key, else minus infinity."""
        if window not in self.masks:
            hidden_BLS = self.age_BLS < 0
            if window is not None:
                hidden_BLS = hidden_BLS | (self.age_BLS >= window)
            zeros_BLS = torch.zeros(hidden_BLS.shape, dtype=dtype, device=hidden_BLS.device)
            self.masks[window] = zeros_BLS.masked_fill_(hidden_BLS, -torch.inf)
        return self.masks[window]

    @abstractmethod
    def to(self, device: torch.device) -> Bucket:
        """Return this bucket on a device."""

    @abstractmethod
    def queries(self, x_THK: Tensor) -> Tensor:
        """Return the queries' rows as x_BHLK."""

    @abstractmethod
    def keys(self, x_TGK: Tensor) -> Tensor:
        """Return the keys' rows as x_BGSK."""

    @abstractmethod
    def grads(self, g_THK: Tensor) -> Tensor:
        """Return the rows of the outputs' gradient as g_BHLK, zero for padding queries."""

    @abstractmethod
    def put_queries(self, x_BHLK: Tensor, out_THK: Tensor) -> None:
        """Write the result of each real query to its row."""

    @abstractmethod
    def add_keys(self, x_BGSK: Tensor, out_TGK: Tensor) -> None:
        """Add the result of each key to its row."""


@dataclass(frozen=True)
class DenseBucket(Bucket):
    """All tokens of a small job against all, without gathering. B is 1."""

    rows: slice

    @classmethod
    def of(cls, chunks: Sequence[QueryChunk], rows: slice) -> DenseBucket:
        size = rows.stop - rows.start
        age_LS = torch.full((size, size), -1)
        for chunk in chunks:
            first = len(chunk.keys) - len(chunk.queries)
            places_L = torch.arange(first, len(chunk.keys))
            columns = torch.tensor(chunk.keys) - rows.start
            queries = slice(chunk.queries.start - rows.start, chunk.queries.stop - rows.start)
            age_LS[queries, columns] = places_L[:, None] - torch.arange(len(chunk.keys))
        return cls(age_LS[None], rows)

    def to(self, device: torch.device) -> DenseBucket:
        return DenseBucket(self.age_BLS.to(device), self.rows)

    def queries(self, x_THK: Tensor) -> Tensor:
        return x_THK[self.rows].transpose(0, 1)[None]

    def keys(self, x_TGK: Tensor) -> Tensor:
        return self.queries(x_TGK)

    def grads(self, g_THK: Tensor) -> Tensor:
        return self.queries(g_THK)

    def put_queries(self, x_BHLK: Tensor, out_THK: Tensor) -> None:
        out_THK[self.rows] = x_BHLK[0].transpose(0, 1)

    def add_keys(self, x_BGSK: Tensor, out_TGK: Tensor) -> None:
        self.put_queries(x_BGSK, out_TGK)  # nothing else adds to these rows


@dataclass(frozen=True)
class PaddedBucket(Bucket):
    """Chunks of similar size. Positions past a chunk's end repeat its last token and are ignored."""

    query_BL: Tensor  # rows of the queries
    key_BS: Tensor  # rows of the keys
    valid_V: Tensor | None  # the flat positions of real queries; None: all are real

    def to(self, device: torch.device) -> PaddedBucket:
        valid_V = None if self.valid_V is None else self.valid_V.to(device)
        return PaddedBucket(
            self.age_BLS.to(device), self.query_BL.to(device), self.key_BS.to(device), valid_V
        )

    def queries(self, x_THK: Tensor) -> Tensor:
        return _gather(x_THK, self.query_BL)

    def keys(self, x_TGK: Tensor) -> Tensor:
        return _gather(x_TGK, self.key_BS)

    def grads(self, g_THK: Tensor) -> Tensor:
        g_BHLK = self.queries(g_THK)
        if self.valid_V is None:
            return g_BHLK
        real_BL = torch.zeros(self.query_BL.numel(), dtype=g_BHLK.dtype, device=g_BHLK.device)
        real_BL[self.valid_V] = 1
        return g_BHLK * real_BL.view(len(self.query_BL), 1, -1, 1)

    def put_queries(self, x_BHLK: Tensor, out_THK: Tensor) -> None:
        rows_Q, x_QHK = self.query_BL.flatten(), x_BHLK.transpose(1, 2).flatten(0, 1)
        if self.valid_V is not None:
            rows_Q, x_QHK = rows_Q[self.valid_V], x_QHK[self.valid_V]
        out_THK.index_copy_(0, rows_Q, x_QHK)

    def add_keys(self, x_BGSK: Tensor, out_TGK: Tensor) -> None:
        out_TGK.index_add_(0, self.key_BS.flatten(), x_BGSK.transpose(1, 2).flatten(0, 1))


def bucket_texts(jobs: Sequence[tuple[slice, Sequence[Text]]]) -> list[Bucket]:
    """Make each job of few rows one dense bucket, and put the others' chunks together by size."""
    dense: list[Bucket] = []
    rest: list[QueryChunk] = []
    for rows, texts in jobs:
        chunks = [chunk for text in texts for chunk in QueryChunk.cut(text)]
        if rows.stop - rows.start <= DENSE_ROWS:
            dense.append(DenseBucket.of(chunks, rows))
        else:
            rest += chunks
    return [*dense, *bucket_chunks(rest)]


def bucket_chunks(chunks: Sequence[QueryChunk]) -> list[PaddedBucket]:
    """Put chunks of similar size together."""
    buckets: list[list[QueryChunk]] = []
    for chunk in sorted(chunks, key=lambda chunk: (len(chunk.keys), len(chunk.queries)), reverse=True):
        if buckets and _fits(buckets[-1], chunk):
            buckets[-1].append(chunk)
        else:
            buckets.append([chunk])
    return [_padded_bucket(bucket) for bucket in buckets]


def attend_packed(config: DecoderConfig, buckets: Sequence[Bucket]) -> Attend:
    """Return an `attend` over a packed row whose tokens are divided among the buckets."""

    def attend(layer: int, q_THK: Tensor, k_TGK: Tensor, v_TGK: Tensor) -> Tensor:
        out_THK: Tensor = _apply(q_THK, k_TGK, v_TGK, buckets, config, config.windows[layer])
        return out_THK

    return attend


class _PackedAttention(torch.autograd.Function):
    """Attention that computes its scores twice, forward and backward, and never keeps them."""

    @staticmethod
    def forward(
        ctx: Any,
        q_THK: Tensor,
        k_TGK: Tensor,
        v_TGK: Tensor,
        buckets: Sequence[Bucket],
        config: DecoderConfig,
        window: int | None,
    ) -> Tensor:
        ctx.save_for_backward(q_THK, k_TGK, v_TGK)
        ctx.rest = buckets, config, window
        out_THK = torch.empty(q_THK.shape, dtype=q_THK.dtype, device=q_THK.device)
        for bucket in buckets:
            mask_BLS = bucket.mask_BLS(window, q_THK.dtype)
            weights_BGQS, _ = _weights(bucket.queries(q_THK), bucket.keys(k_TGK), mask_BLS, config)
            out_BGQK = weights_BGQS @ bucket.keys(v_TGK)
            bucket.put_queries(_by_head(out_BGQK, mask_BLS), out_THK)
        return out_THK

    @staticmethod
    def backward(ctx: Any, g_THK: Tensor) -> tuple[Tensor | None, ...]:
        buckets, config, window = ctx.rest
        q_THK, k_TGK, v_TGK = saved = ctx.saved_tensors
        dq_THK, dk_TGK, dv_TGK = (torch.zeros(x.shape, dtype=x.dtype, device=x.device) for x in saved)
        for bucket in buckets:
            q_BHLK = bucket.queries(q_THK)
            k_BGSK = bucket.keys(k_TGK)
            mask_BLS = bucket.mask_BLS(window, q_THK.dtype)
            weights_BGQS, slope = _weights(q_BHLK, k_BGSK, mask_BLS, config)
            g_BGQK = _by_kv_head(bucket.grads(g_THK), k_BGSK)
            d_weights_BGQS = g_BGQK @ bucket.keys(v_TGK).transpose(2, 3)
            ds_BGQS = _softmax_backward(d_weights_BGQS, weights_BGQS, -1, weights_BGQS.dtype)
            ds_BGQS = ds_BGQS.mul_(config.scale if slope is None else slope * config.scale)
            bucket.put_queries(_by_head(ds_BGQS @ k_BGSK, mask_BLS), dq_THK)
            bucket.add_keys(ds_BGQS.transpose(2, 3) @ _by_kv_head(q_BHLK, k_BGSK), dk_TGK)
            bucket.add_keys(weights_BGQS.transpose(2, 3) @ g_BGQK, dv_TGK)
        return dq_THK, dk_TGK, dv_TGK, None, None, None


_apply: Any = _PackedAttention.apply
_softmax_backward: Any = torch.ops.aten._softmax_backward_data


def _weights(
    q_BHLK: Tensor, k_BGSK: Tensor, mask_BLS: Tensor, config: DecoderConfig
) -> tuple[Tensor, Tensor | None]:
    """Return softmax(q kᵀ scale + mask), and the derivative of the scores' soft cap if there is one.

    The H / G query heads of a key head are computed together in one product: Q = H / G · L.
    """
    scores_BGQS = _by_kv_head(q_BHLK, k_BGSK) @ k_BGSK.transpose(2, 3) * config.scale
    slope = None
    if config.attn_softcap is not None:
        scores_BGQS = torch.tanh(scores_BGQS / config.attn_softcap)
        slope = 1 - scores_BGQS.square()
        scores_BGQS = scores_BGQS * config.attn_softcap
    scores_BGRLS = scores_BGQS.view(*k_BGSK.shape[:2], -1, *mask_BLS.shape[1:]).add_(mask_BLS[:, None, None])
    return scores_BGRLS.softmax(-1).flatten(2, 3), slope


def _by_kv_head(x_BHLK: Tensor, k_BGSK: Tensor) -> Tensor:
    return x_BHLK.reshape(len(x_BHLK), k_BGSK.shape[1], -1, x_BHLK.shape[3])


def _by_head(x_BGQK: Tensor, mask_BLS: Tensor) -> Tensor:
    return x_BGQK.reshape(len(x_BGQK), -1, mask_BLS.shape[1], x_BGQK.shape[3])


def _gather(x_TNK: Tensor, rows: Tensor) -> Tensor:
    return x_TNK.index_select(0, rows.flatten()).view(*rows.shape, *x_TNK.shape[1:]).transpose(1, 2)


def _fits(bucket: Sequence[QueryChunk], chunk: QueryChunk) -> bool:
    """Tell whether a chunk, no larger than those in the bucket, may be padded to the first one's size."""
    num_queries = max(len(other.queries) for other in bucket)
    num_keys = len(bucket[0].keys)
    if max(num_queries, len(chunk.queries)) * num_keys * (len(bucket) + 1) > MAX_SCORES:
        return False
    similar = min(len(chunk.queries), num_queries) >= SIMILAR * max(len(chunk.queries), num_queries)
    small = max(num_queries, len(chunk.queries)) * num_keys <= SMALL_SCORES
    return small or (similar and len(chunk.keys) >= SIMILAR * num_keys)


def _padded_bucket(bucket: Sequence[QueryChunk]) -> PaddedBucket:
    query_BL = _padded([chunk.queries for chunk in bucket])
    key_BS = _padded([chunk.keys for chunk in bucket])
    place_BS = torch.arange(key_BS.shape[1]).expand(key_BS.shape)
    num_keys_B, num_queries_B = _lengths([p.keys for p in bucket]), _lengths([p.queries for p in bucket])
    query_place_BL = torch.arange(query_BL.shape[1]).clamp(max=num_queries_B[:, None] - 1)
    query_place_BL = query_place_BL + (num_keys_B - num_queries_B)[:, None]
    age_BLS = query_place_BL[:, :, None] - place_BS[:, None, :]
    real_BL = torch.arange(query_BL.shape[1]) < num_queries_B[:, None]
    valid_V = None if bool(real_BL.all()) else real_BL.flatten().nonzero()[:, 0]
    return PaddedBucket(age_BLS, query_BL, key_BS, valid_V)


def _lengths(rows: Sequence[Sequence[int]]) -> Tensor:
    return torch.tensor([len(row) for row in rows])


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Return the rows as a tensor, short ones padded with their last number.

    No other number is safe: another document's token could bring an infinity into this one.
    """
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in rows])
