"""Random adapters for measuring: small enough that the base still speaks, in our own form and in llama.cpp's."""

from __future__ import annotations

from pathlib import Path

import torch
from gguf import GGUFWriter

from overtone.model.adapter import Adapter
from overtone.model.decoder_config import DecoderConfig
from overtone.model.lora import target_sizes

RANK = 16
LLAMA_CPP_NAMES = {
    "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
    "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
}  # fmt: skip


def random_adapter(config: DecoderConfig, seed: int) -> Adapter:
    """Return an adapter of rank 16 on all linear layers."""
    generator = torch.Generator().manual_seed(seed)
    adapter = Adapter(RANK, 2.0 * RANK)
    for layer in range(config.num_layers):
        for target, (width_in, width_out) in target_sizes(config).items():
            adapter.a[layer, target] = torch.randn(RANK, width_in, generator=generator) / width_in**0.5
            adapter.b[layer, target] = 0.01 * torch.randn(width_out, RANK, generator=generator)
    return adapter


def save_gguf(path: Path, adapter: Adapter) -> None:
    """Write an adapter as llama.cpp reads it; Q and K in the wrong order of rows, which costs it nothing."""
    writer = GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", adapter.alpha)
    for layer, target in adapter.a:
        name = f"blk.{layer}.{LLAMA_CPP_NAMES[target]}.weight"
        writer.add_tensor(f"{name}.lora_a", adapter.a[layer, target].numpy())
        writer.add_tensor(f"{name}.lora_b", adapter.b[layer, target].numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
