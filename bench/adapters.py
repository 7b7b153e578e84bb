"""Random adapters for measuring: small enough that the base still speaks, in our own form and in llama.cpp's."""

from __future__ import annotations

from pathlib import Path

import torch
from gguf import GGUFWriter

from overtone.bases.gguf_base import gguf_name
from overtone.model.adapter import Adapter
from overtone.model.decoder_config import DecoderConfig
from overtone.model.projections import module_path, module_sizes, to_gguf_order

RANK = 16


def random_adapter(config: DecoderConfig, seed: int) -> Adapter:
    """Return an adapter of rank 16 on all linear layers."""
    generator = torch.Generator().manual_seed(seed)
    adapter = Adapter(RANK, 2.0 * RANK)
    for layer in range(config.num_layers):
        for module, (width_in, width_out) in module_sizes(config).items():
            a_RI = torch.randn(RANK, width_in, generator=generator) / width_in**0.5
            b_OR = 0.01 * torch.randn(width_out, RANK, generator=generator)
            adapter.a[layer, module] = a_RI.numpy()
            adapter.b[layer, module] = b_OR.numpy()
    return adapter


def save_gguf(path: Path, adapter: Adapter, config: DecoderConfig) -> None:
    """Write an adapter for a Llama as llama.cpp reads it."""
    num_heads = {"q_proj": config.num_heads, "k_proj": config.num_kv_heads}
    writer = GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", adapter.alpha)
    for layer, module in adapter.a:
        name = gguf_name(f"model.layers.{layer}.{module_path(module)}.weight")
        b_OR = adapter.b[layer, module]
        if module in num_heads:
            b_OR = to_gguf_order(b_OR, num_heads[module])
        writer.add_tensor(f"{name}.lora_a", adapter.a[layer, module])
        writer.add_tensor(f"{name}.lora_b", b_OR)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
