"""Attention written as plainly as possible, for one text: the measure for the fast ones."""

from __future__ import annotations

import torch
from torch import Tensor

from overtone.model.decoder import Attend
from overtone.model.decoder_config import DecoderConfig


def causal(config: DecoderConfig) -> Attend:
    """Return an `attend` over one text from its first token on."""

    def attend(layer: int, q_THK: Tensor, k_TGK: Tensor, v_TGK: Tensor) -> Tensor:
        repeats = config.num_heads // config.num_kv_heads
        k_THK, v_THK = k_TGK.repeat_interleave(repeats, 1), v_TGK.repeat_interleave(repeats, 1)
        scores_HTT = torch.einsum("thk,shk->hts", q_THK, k_THK) * config.scale
        if config.attn_softcap:
            scores_HTT = torch.tanh(scores_HTT / config.attn_softcap) * config.attn_softcap
        age_TT = torch.arange(len(q_THK))[:, None] - torch.arange(len(k_TGK))
        hidden_TT = (age_TT < 0) | (age_TT >= (config.windows[layer] or len(q_THK)))
        weights_HTT = scores_HTT.masked_fill(hidden_TT, -torch.inf).softmax(-1)
        return torch.einsum("hts,shk->thk", weights_HTT, v_THK)

    return attend
