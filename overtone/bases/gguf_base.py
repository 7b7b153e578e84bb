"""Converts a GGUF file to a base folder: weights by Hugging Face's names, the file's 4-bit blocks, config.json.

`model.safetensors` holds the dequantised weights in float32. `blocks.safetensors` holds the same weights quantised
as in the file, so that the engine serves exactly the model that the trainer trains, with a fraction of the memory
traffic:

- Q4_1 and Q4_0: NAME.q uint8 [O, I/2], element 2j in the low nibble of byte j and 2j+1 in the high one;
  NAME.d and NAME.m float16 [O, I/32]; weight = d · q + m, for each 32 elements of a row.
- Q8_0: NAME.q int8 [O, I] and NAME.d float16 [O, I/32]; weight = d · q.

The layouts come from llama.cpp (ggml-quants.c), the names from its convert_hf_to_gguf.py. Left out: architectures
whose rotary scaling or norms a GGUF stores in another form; use the publisher's safetensors for those.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, ReaderTensor, dequantize

from overtone.errors import OvertoneError
from overtone.float32 import shortest
from overtone.model import projections
from overtone.model.safetensors_file import Entry, array_entry

QUANT_BLOCK = 32  # elements that share one scale, in every quantised type that we keep


@dataclass(frozen=True)
class Architecture:
    """What distinguishes one GGUF architecture from another."""

    model_type: str
    class_name: str
    interleaved: bool = False  # llama.cpp reorders the rows of Q and K for its rotary embedding


ARCHITECTURES = {
    "llama": Architecture("llama", "LlamaForCausalLM", interleaved=True),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM"),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM"),
}

NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    **{projection.gguf: projections.module_path(projection.module) for projection in projections.TABLE},
}
LAYER = re.compile(r"model\.layers\.(\d+)\.")
GGUF_NAMES = {hf: gguf for gguf, hf in NAMES.items()}


class GgufBase:
    """An open GGUF file. Tensors are read from the disk one by one, when they are needed."""

    def __init__(self, path: Path):
        """Open the file. Raises OvertoneError if it is damaged or has an architecture that is not supported."""
        try:
            self._reader = GGUFReader(path)
            self.fields: dict[str, Any] = {
                name: field.contents() for name, field in self._reader.fields.items()
            }
        except (ValueError, OSError, IndexError, KeyError) as error:
            raise OvertoneError(f"{path} is not a whole GGUF file: {error}") from error
        self._arch = self.fields.get("general.architecture")
        if self._arch not in ARCHITECTURES:
            raise OvertoneError(
                f"{path} is of the architecture {self._arch!r}; "
                f"Overtone converts {', '.join(ARCHITECTURES)}. Use the model's safetensors instead."
            )
        self.architecture = ARCHITECTURES[self._arch]
        self._refuse_what_is_not_read(path)
        self._tensors = {hf_name(tensor.name): tensor for tensor in self._reader.tensors}
        if "model.embed_tokens.weight" not in self._tensors:
            raise OvertoneError(f"{path} has no token_embd.weight: it is not a complete model.")

    def _refuse_what_is_not_read(self, path: Path) -> None:
        """Refuse a part of a split model, and features that the conversion does not support."""
        parts = int(self.fields.get("split.count", 1) or 1)
        if parts > 1:
            raise OvertoneError(
                f"{path} is one of {parts} parts of a model; join them first: "
                "llama-gguf-split --merge FIRST-PART WHOLE.gguf"
            )
        kind = self.field("rope.scaling.type", "none")
        if kind not in ("none", "linear"):
            raise OvertoneError(
                f"{path} uses rope scaling of type {kind!r}, which is not supported; use the model's safetensors."
            )
        width = int(self.field("embedding_length", 0))
        heads = int(self.field("attention.head_count", 1))
        head_size = int(self.field("attention.key_length", width // heads))
        if (
            int(self.field("rope.dimension_count", head_size)) != head_size
            or self.field("logit_scale", 1.0) != 1.0
        ):
            raise OvertoneError(
                f"{path} uses partial rotary embeddings or a logit scale, which is not supported; use the model's "
                "safetensors."
            )

    def _rope_scaling(self) -> dict[str, Any]:
        factor = self.field("rope.scaling.factor", self.field("rope.scale_linear", 1.0))
        if float(factor or 1.0) == 1.0:
            return {}
        return {"rope_scaling": {"rope_type": "linear", "factor": shortest(factor)}}

    @property
    def num_parameters(self) -> int:
        return sum(int(tensor.n_elements) for tensor in self._tensors.values())

    def field(self, name: str, default: Any = None) -> Any:
        """Return a field of the file's architecture, such as `block_count`."""
        return self.fields.get(f"{self._arch}.{name}", default)

    def config(self) -> dict[str, Any]:
        """Return the model's config.json as the publisher would have written it."""
        heads = int(self.field("attention.head_count"))
        width = int(self.field("embedding_length"))
        return {
            "architectures": [self.architecture.class_name],
            "model_type": self.architecture.model_type,
            "vocab_size": self._tensors["model.embed_tokens.weight"].data.shape[0],
            "hidden_size": width,
            "intermediate_size": int(self.field("feed_forward_length")),
            "num_hidden_layers": int(self.field("block_count")),
            "num_attention_heads": heads,
            "num_key_value_heads": int(self.field("attention.head_count_kv", heads)),
            "head_dim": int(self.field("attention.key_length", width // heads)),
            "max_position_embeddings": int(self.field("context_length")),
            "rms_norm_eps": shortest(self.field("attention.layer_norm_rms_epsilon")),
            "rope_theta": shortest(self.field("rope.freq_base", 10000.0)),
            "hidden_act": "silu",
            "attention_bias": "model.layers.0.self_attn.q_proj.bias" in self._tensors,
            "tie_word_embeddings": "lm_head.weight" not in self._tensors,
            "dtype": "float32",
            **self._rope_scaling(),
            **self._token_ids(),
        }

    def weights(self) -> list[Entry]:
        """Return every weight in float32."""
        return [
            array_entry(name, np.float32, _shape(tensor), partial(self._weight, name, tensor))
            for name, tensor in self._tensors.items()
        ]

    def blocks(self) -> list[Entry]:
        """Return the weights quantised as in the file."""
        return [
            entry for name, tensor in self._tensors.items() for entry in self._block_entries(name, tensor)
        ]

    def _token_ids(self) -> dict[str, int]:
        names = {
            "bos_token_id": "bos_token_id",
            "eos_token_id": "eos_token_id",
            "pad_token_id": "padding_token_id",
        }
        found = {name: self.fields.get(f"tokenizer.ggml.{source}") for name, source in names.items()}
        return {name: int(value) for name, value in found.items() if value is not None}

    def _weight(self, name: str, tensor: ReaderTensor) -> np.ndarray:
        weight = dequantize(tensor.data, tensor.tensor_type).reshape(_shape(tensor))
        return self.in_hf_order(name, weight)

    def _block_entries(self, name: str, tensor: ReaderTensor) -> Iterator[Entry]:
        for part, dtype, per_byte, make in QUANT_BLOCK_PARTS.get(tensor.tensor_type, ()):
            rows, columns = _shape(tensor)
            yield array_entry(
                f"{name}.{part}",
                dtype,
                (rows, columns // per_byte),
                partial(self._block_part, name, tensor, make),
            )

    def _block_part(
        self, name: str, tensor: ReaderTensor, make: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        rows, _ = _shape(tensor)
        blocks_OBX = tensor.data.reshape(rows, -1, GGML_BLOCK_BYTES[tensor.tensor_type])
        return self.in_hf_order(name, make(blocks_OBX).reshape(rows, -1))

    def in_hf_order(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Undo llama.cpp's reordering of the rows of Q and K, where this architecture has it."""
        projection = projections.BY_MODULE.get(name.split(".")[-2])
        if projection is None or not projection.gguf_heads or not self.architecture.interleaved:
            return rows
        num_heads = int(self.field(projection.gguf_heads, self.field("attention.head_count")))
        return projections.to_hf_order(rows, num_heads)


def hf_name(name: str) -> str:
    """Return Hugging Face's name of a GGUF tensor.

    `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`. Raises OvertoneError for a tensor that is
    not supported, such as the rotary factors of Llama 3.
    """
    *path, kind = name.split(".")
    layer = f"model.layers.{path[1]}." if path[0] == "blk" else ""
    if path[-1] not in NAMES:
        raise OvertoneError(
            f"The GGUF file holds {name}, which is not supported; use the model's safetensors."
        )
    return f"{layer}{NAMES[path[-1]]}.{kind}"


def gguf_name(name: str) -> str:
    """Return GGUF's name of a tensor of Hugging Face's: the inverse of `hf_name`."""
    path, _, kind = name.rpartition(".")
    layer = LAYER.match(path)
    if layer is None:
        return f"{GGUF_NAMES[path]}.{kind}"
    return f"blk.{layer[1]}.{GGUF_NAMES[path[layer.end() :]]}.{kind}"


def _shape(tensor: ReaderTensor) -> tuple[int, ...]:
    return tuple(int(size) for size in reversed(tensor.shape))  # ggml counts the innermost first


def _scale(blocks_OBX: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(blocks_OBX[..., 0:2]).view(np.float16)


def _minimum(blocks_OBX: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(blocks_OBX[..., 2:4]).view(np.float16)


def _minus_eight_scales(blocks_OBX: np.ndarray) -> np.ndarray:
    minimum: np.ndarray = _scale(blocks_OBX) * np.float16(-8)
    return minimum


def _nibbles(start: int, blocks_OBX: np.ndarray) -> np.ndarray:
    """Repack a block's nibbles: byte j held elements j (low) and 16 + j (high), and then 2j (low) and 2j + 1 (high)."""
    packed = blocks_OBX[..., start:]
    elements = np.concatenate([packed & 0x0F, packed >> 4], axis=-1)
    pairs: np.ndarray = elements[..., 0::2] | (elements[..., 1::2] << 4)
    return pairs


def _signed_bytes(blocks_OBX: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(blocks_OBX[..., 2:]).view(np.int8)


Part = tuple[str, type[np.generic], int, Callable[[np.ndarray], np.ndarray]]
QUANT_BLOCK_PARTS: Mapping[GGMLQuantizationType, tuple[Part, ...]] = {
    GGMLQuantizationType.Q4_1: (
        ("q", np.uint8, 2, partial(_nibbles, 4)),
        ("d", np.float16, QUANT_BLOCK, _scale),
        ("m", np.float16, QUANT_BLOCK, _minimum),
    ),
    GGMLQuantizationType.Q4_0: (
        ("q", np.uint8, 2, partial(_nibbles, 2)),
        ("d", np.float16, QUANT_BLOCK, _scale),
        ("m", np.float16, QUANT_BLOCK, _minus_eight_scales),
    ),
    GGMLQuantizationType.Q8_0: (
        ("q", np.int8, 1, _signed_bytes),
        ("d", np.float16, QUANT_BLOCK, _scale),
    ),
}
GGML_BLOCK_BYTES = {
    GGMLQuantizationType.Q4_1: 20,
    GGMLQuantizationType.Q4_0: 18,
    GGMLQuantizationType.Q8_0: 34,
}
