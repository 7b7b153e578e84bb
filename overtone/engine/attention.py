"""Attention over the paged KV cache: a chunk sees only the blocks of its own sequence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from overtone.engine.scheduler import Chunk
from overtone.model.decoder_config import DecoderConfig


class PagedAttention:
    """The cache's tensors and the decoder's `attend` over them. Call `plan` first in every step."""

    def __init__(
        self,
        config: DecoderConfig,
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ):
        self._config = config
        self._block_size = block_size
        self._device = device
        shape = (config.num_layers, num_blocks * block_size, config.num_kv_heads, config.head_size)
        self._k_LPGK = torch.zeros(shape, dtype=dtype, device=device)
        self._v_LPGK = torch.zeros(shape, dtype=dtype, device=device)

    def plan(self, chunks: Sequence[Chunk]) -> None:
        """Compute where this step's tokens go in the cache and which positions each chunk sees."""
        self._places = [self._places_of(chunk) for chunk in chunks]
        self._counts = [chunk.count for chunk in chunks]
        new = [places_N[-count:] for places_N, count in zip(self._places, self._counts, strict=True)]
        self._new_T = torch.cat(new)
        self._ages = [
            _ages(len(places_N), count).to(self._device)
            for places_N, count in zip(self._places, self._counts, strict=True)
        ]

    def attend(self, layer: int, q_THK: Tensor, k_TGK: Tensor, v_TGK: Tensor) -> Tensor:
        """Store the new keys and values, then compute attention for each query over its past."""
        k_PGK, v_PGK = self._k_LPGK[layer], self._v_LPGK[layer]
        k_PGK[self._new_T] = k_TGK.to(k_PGK.dtype)
        v_PGK[self._new_T] = v_TGK.to(v_PGK.dtype)
        out = torch.empty_like(q_THK)
        start = 0
        for places_N, ages_CN, count in zip(self._places, self._ages, self._counts, strict=True):
            rows = slice(start, start := start + count)
            out[rows] = self._attend_one(layer, q_THK[rows], k_PGK[places_N], v_PGK[places_N], ages_CN)
        return out

    def _attend_one(self, layer: int, q_CHK: Tensor, k_NGK: Tensor, v_NGK: Tensor, ages_CN: Tensor) -> Tensor:
        """softmax(scale · q kᵀ) v with shared key heads; a query sees ages 0 … window - 1."""
        config = self._config
        num_kv_heads = k_NGK.shape[1]
        q_GRCK = q_CHK.view(len(q_CHK), num_kv_heads, -1, q_CHK.shape[-1]).permute(1, 2, 0, 3)
        scores_GRCN = torch.einsum("grck,ngk->grcn", q_GRCK.float(), k_NGK.float()) * config.scale
        if config.attn_softcap is not None:
            scores_GRCN = config.attn_softcap * torch.tanh(scores_GRCN / config.attn_softcap)
        window = config.windows[layer]
        hidden_CN = ages_CN < 0 if window is None else (ages_CN < 0) | (ages_CN >= window)
        weights_GRCN = scores_GRCN.masked_fill(hidden_CN, -torch.inf).softmax(-1)
        return torch.einsum("grcn,ngk->cgrk", weights_GRCN, v_NGK.float()).reshape(q_CHK.shape)

    def _places_of(self, chunk: Chunk) -> Tensor:
        blocks = torch.tensor(chunk.sequence.blocks, device=self._device)
        within = torch.arange(self._block_size, device=self._device)
        return (blocks[:, None] * self._block_size + within).flatten()[: chunk.start + chunk.count]


def _ages(length: int, count: int) -> Tensor:
    """Return ages_CN: how far each of the last `count` tokens is from every token; below 0 is the future."""
    return torch.arange(length - count, length)[:, None] - torch.arange(length)
