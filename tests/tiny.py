"""A tiny random Llama in the layout of a base folder: two layers, bytes as tokens, milliseconds to make.

For every test that wants a base but not a real one's answers. The weights are Q4_1 and Q8_0 blocks first and
floats second, as the default base's are: who reads the blocks and who reads the floats hold the
same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
from tokenizers import pre_tokenizers

from overtone.bases import base_folder, fetch, sources
from overtone.bases.gguf_base import GgufBase
from overtone.bases.registry import Card

BASE_ID = "smollm2-135m-instruct"  # it stands where the default base would
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VOCABULARY = 288
QuantType = gguf.GGMLQuantizationType
NORMAL, CONTROL = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Kinds:
    """How the matrices are quantised."""

    layers: QuantType = QuantType.Q4_1
    embedding: QuantType = QuantType.Q8_0
    others: Mapping[str, QuantType] = field(default_factory=dict)


DEFAULT_KINDS = Kinds()


def make_base(
    bases: Path,
    base_id: str = BASE_ID,
    seed: int = 0,
    width: int = 64,
    num_layers: int = 2,
    kinds: Kinds = DEFAULT_KINDS,
) -> Path:
    """Make bases/ID with random weights and return it."""
    with base_folder.lock(bases, base_id), base_folder.install(bases, base_id) as folder:
        file = bases / f".{base_id}.gguf"
        write_gguf(file, seed, width, num_layers, kinds=kinds)
        sources.write_gguf(GgufBase(file), folder, lambda stage, done, total: None)
        file.unlink()
        measured = fetch.measure(folder)
        Card(base_id, "Tiny", "Random.", base_id=base_id, revision=f"seed {seed}", **measured).save(folder)
    return bases / base_id


def write_gguf(
    file: Path,
    seed: int = 0,
    width: int = 64,
    num_layers: int = 2,
    arch: str = "llama",
    kinds: Kinds = DEFAULT_KINDS,
) -> None:
    """Write the model as a GGUF file."""
    writer = gguf.GGUFWriter(file, arch)
    _write_shape(writer, width, num_layers)
    _write_tokenizer(writer)
    random = np.random.default_rng(seed)
    for name, shape in _shapes(width, num_layers).items():
        _write_tensor(writer, name, shape, kinds, random)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_shape(writer: gguf.GGUFWriter, width: int, num_layers: int) -> None:
    writer.add_block_count(num_layers)
    writer.add_context_length(512)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)


def _write_tokenizer(writer: gguf.GGUFWriter) -> None:
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "th"]
    reserved = [f"<|reserved_{n}|>" for n in range(VOCABULARY - len(CONTROL_TOKENS) - len(words))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([*CONTROL_TOKENS, *words, *reserved])
    writer.add_token_types(
        [CONTROL] * len(CONTROL_TOKENS) + [NORMAL] * len(words) + [CONTROL] * len(reserved)
    )
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)


def _shapes(width: int, num_layers: int) -> dict[str, tuple[int, ...]]:
    layer = {
        "attn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (width // 2, width),
        "attn_v": (width // 2, width),
        "attn_output": (width, width),
        "ffn_norm": (width,),
        "ffn_gate": (2 * width, width),
        "ffn_up": (2 * width, width),
        "ffn_down": (width, 2 * width),
    }
    layers = {f"blk.{n}.{name}.weight": shape for n in range(num_layers) for name, shape in layer.items()}
    return {"token_embd.weight": (VOCABULARY, width), "output_norm.weight": (width,), **layers}


def _write_tensor(
    writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], kinds: Kinds, random: np.random.Generator
) -> None:
    if len(shape) == 1:
        writer.add_tensor(name, (1 + 0.1 * random.standard_normal(shape)).astype(np.float32))
        return
    kind = kinds.embedding if name == "token_embd.weight" else kinds.layers
    if name in kinds.others:
        kind = kinds.others[name]
    values = (random.standard_normal(shape) / np.sqrt(shape[1])).astype(np.float32)
    writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
