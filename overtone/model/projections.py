"""The linear projections of a layer: their names in every format, and the order of their rows.

Hugging Face's files and peft's adapters have seven modules. The decoder joins those that read the same input into one
matrix, a joined projection: the rows of its modules one after the other, in the order of this table. Phi-3 stores its
projections this way; those are packed modules. GGUF files use other names, and for some architectures llama.cpp
interleaves the rows of each query and key head. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from overtone.model.decoder_config import DecoderConfig


Rows = TypeVar("Rows")
"""An array or a tensor."""


@dataclass(frozen=True)
class Projection:
    """One module of every layer."""

    module: str  # Hugging Face's name, and peft's
    gguf: str  # llama.cpp's name
    parent: str  # the module of a layer that has it, in Hugging Face's words
    joined: str  # our joined projection
    gguf_heads: str = ""  # the GGUF field that counts the heads whose rows llama.cpp interleaves; "" for none


TABLE = (
    #          Hugging Face  GGUF           parent       joined     interleaved heads in a GGUF
    Projection("q_proj",     "attn_q",      "self_attn", "qkv",     "attention.head_count"),
    Projection("k_proj",     "attn_k",      "self_attn", "qkv",     "attention.head_count_kv"),
    Projection("v_proj",     "attn_v",      "self_attn", "qkv"),
    Projection("o_proj",     "attn_output", "self_attn", "o"),
    Projection("gate_proj",  "ffn_gate",    "mlp",       "gate_up"),
    Projection("up_proj",    "ffn_up",      "mlp",       "gate_up"),
    Projection("down_proj",  "ffn_down",    "mlp",       "down"),
)  # fmt: skip

PACKED = {"qkv": "qkv_proj", "gate_up": "gate_up_proj"}
"""Joined projection → the packed module that Phi-3 stores for it, its rows in our order."""

BY_MODULE = {projection.module: projection for projection in TABLE}

JOINED = {
    joined: tuple(projection.module for projection in TABLE if projection.joined == joined)
    for joined in dict.fromkeys(projection.joined for projection in TABLE)
}
"""Joined projection → its modules, in the order of its rows. The kernels count them in this order."""

PACKED_PARTS = {packed: JOINED[joined] for joined, packed in PACKED.items()}
"""Packed module → the modules that it packs."""

PARENTS = {
    **{projection.module: projection.parent for projection in TABLE},
    **{packed: BY_MODULE[parts[0]].parent for packed, parts in PACKED_PARTS.items()},
}
"""Module, packed or not → its parent module."""


def module_path(module: str) -> str:
    """Return a module's path inside a layer in Hugging Face's names: `self_attn.q_proj`."""
    return f"{PARENTS[module]}.{module}"


def bias_name(index: int, projection: str) -> str:
    """Return the name that the bias of a joined projection's first module has in a weight file."""
    return f"model.layers.{index}.{module_path(JOINED[projection][0])}.bias"


def module_sizes(config: DecoderConfig) -> dict[str, tuple[int, int]]:
    """Return the sizes (I, O) of every module."""
    q_size, k_size, v_size = config.qkv_sizes
    width = config.width
    inner = config.inner_size
    return {
        "q_proj": (width, q_size),
        "k_proj": (width, k_size),
        "v_proj": (width, v_size),
        "o_proj": (q_size, width),
        "gate_proj": (width, inner),
        "up_proj": (width, inner),
        "down_proj": (inner, width),
    }


def to_hf_order(rows: Rows, num_heads: int) -> Rows:
    """Undo llama.cpp's interleaving of rows: in each head, (2i, 2i+1) go to (i, i + K/2)."""
    ordered: Rows = _reordered(rows, num_heads, -1, 2)
    return ordered


def to_gguf_order(rows: Rows, num_heads: int) -> Rows:
    """Interleave rows as llama.cpp does: the inverse of `to_hf_order`."""
    interleaved: Rows = _reordered(rows, num_heads, 2, -1)
    return interleaved


def _reordered(rows: Any, num_heads: int, *sizes: int) -> Any:
    """Split each head's rows into two dimensions of these sizes and swap them."""
    return rows.reshape(num_heads, *sizes, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
