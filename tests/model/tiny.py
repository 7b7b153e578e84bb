"""A two-layer random model that has every size different, so that a mix-up of two cannot pass."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from overtone.model.adapter import Adapter
from overtone.model.decoder import Decoder
from overtone.model.projections import module_sizes

VOCAB = 67


def make_base(folder: Path) -> LlamaForCausalLM:
    """Write a random base to the folder and return transformers' model of it."""
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.3,
        attn_implementation="eager",
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model


def random_adapter(decoder: Decoder, rank: int, alpha: float, seed: int) -> Adapter:
    """Return an adapter with both matrices random, at every place."""
    generator = torch.Generator().manual_seed(seed)
    adapter = Adapter(rank, alpha)
    for layer in range(decoder.config.num_layers):
        for module, (num_in, num_out) in module_sizes(decoder.config).items():
            adapter.a[layer, module] = (torch.randn(rank, num_in, generator=generator) * 0.2).numpy()
            adapter.b[layer, module] = (torch.randn(num_out, rank, generator=generator) * 0.2).numpy()
    return adapter
