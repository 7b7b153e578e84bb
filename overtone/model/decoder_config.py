"""The decoder's configuration, read from the model's own config.json.

A family is a row of FAMILIES: what its original code does and config.json does not say. Both forms of the rotary
settings are read: `rope_parameters` (transformers 5), and `rope_theta` with `rope_scaling` (transformers 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overtone import json_file
from overtone.errors import OvertoneError
from overtone.model.rope import Rope

SLIDING = "sliding_attention"
FULL = "full_attention"


@dataclass(frozen=True)
class Norms:
    """The weight files' names for the norms before and after attention and MLP; "" if there is none."""

    before_attention: str = "input_layernorm"
    after_attention: str = ""
    before_mlp: str = "post_attention_layernorm"
    after_mlp: str = ""


SANDWICH = Norms(
    "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"
)
POST = Norms("", "post_attention_layernorm", "", "post_feedforward_layernorm")


@dataclass(frozen=True)
class Family:
    """How a family differs from Llama."""

    norms: Norms = Norms()
    norm_offset: float = 0.0  # Gemma stores its norm weights minus one
    scaled_embedding: bool = False  # Gemma multiplies embeddings by sqrt(width)
    activation: str = "silu"
    qk_norm: str = ""  # "head": over each head; "full": over all heads together
    query_scalar: bool = False  # attention scale from query_pre_attn_scalar instead of the head size
    sliding: bool = False  # config.json's sliding_window is used without a use_sliding_window switch
    sliding_pattern: int = 0  # every n-th layer has full attention, if config.json has no layer_types
    local_theta: float = 0.0  # rotary base of the sliding layers, if config.json has none
    tied: bool = False  # the default of tie_word_embeddings
    packed: bool = False  # packed modules: one for queries, keys and values, one for gate and up


FAMILIES = {
    "llama": Family(),
    "mistral": Family(sliding=True),
    "qwen2": Family(),
    "qwen3": Family(qk_norm="head"),
    "phi3": Family(sliding=True, packed=True),
    "olmo2": Family(norms=POST, qk_norm="full"),
    "gemma": Family(norm_offset=1.0, scaled_embedding=True, activation="gelu_tanh", tied=True),
    "gemma2": Family(
        SANDWICH, 1.0, True, "gelu_tanh", query_scalar=True, sliding=True, sliding_pattern=2, tied=True
    ),
    "gemma3_text": Family(
        SANDWICH, 1.0, True, "gelu_tanh", "head", query_scalar=True, sliding=True, sliding_pattern=6,
        local_theta=10_000.0, tied=True,
    ),
}  # fmt: skip


ACTIVATION_NAMES = {
    "silu": ("silu", "swish"),
    # Gemma's first files say gelu but mean this
    "gelu_tanh": ("gelu_pytorch_tanh", "gelu", "gelu_new", "gelu_fast"),
}
NOT_COMPUTED = ("use_bidirectional_attention", "clip_qkv")


@dataclass(frozen=True)
class DecoderConfig:
    """The decoder's sizes and switches. `ropes` and `windows` have one entry per layer."""

    family: Family
    num_layers: int
    width: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    inner_size: int
    vocab_size: int
    context_length: int
    norm_eps: float
    scale: float  # factor on q·k
    attn_softcap: float | None  # s → c tanh(s / c) on attention scores
    logit_softcap: float | None  # the same on logits
    tied: bool  # the output matrix is the embedding matrix
    ropes: tuple[Rope, ...]
    windows: tuple[int | None, ...]  # a token sees itself and the window - 1 tokens before; None: all

    @property
    def qkv_sizes(self) -> tuple[int, int, int]:
        """Return how many rows of the joined qkv projection are queries, keys and values."""
        return (
            self.num_heads * self.head_size,
            self.num_kv_heads * self.head_size,
            self.num_kv_heads * self.head_size,
        )

    @classmethod
    def load(cls, base_folder: Path) -> DecoderConfig:
        """Read config.json. Raises OvertoneError that names an unsupported architecture."""
        return cls.parse(json_file.read(base_folder / "config.json"))

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> DecoderConfig:
        """Read the fields of a config.json. Raises OvertoneError that names a missing or unsupported field."""
        try:
            return cls._parse(config, _family(config))
        except KeyError as error:
            raise OvertoneError(f"config.json has no {error.args[0]}, which is required.") from None
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise OvertoneError(f"config.json has an invalid value: {error}.") from None

    @classmethod
    def _parse(cls, config: Mapping[str, Any], family: Family) -> DecoderConfig:
        _refuse_switches(config, family)
        num_heads = config["num_attention_heads"]
        head_size = config.get("head_dim") or config["hidden_size"] // num_heads
        kinds = _layer_kinds(config, family)
        ropes = {kind: Rope.parse(_rope_parameters(config, family, kind), head_size) for kind in set(kinds)}
        return cls(
            family=family,
            num_layers=config["num_hidden_layers"],
            width=config["hidden_size"],
            num_heads=num_heads,
            num_kv_heads=config.get("num_key_value_heads") or num_heads,
            head_size=head_size,
            inner_size=config["intermediate_size"],
            vocab_size=config["vocab_size"],
            context_length=config["max_position_embeddings"],
            norm_eps=config["rms_norm_eps"],
            scale=(config["query_pre_attn_scalar"] if family.query_scalar else head_size) ** -0.5,
            attn_softcap=config.get("attn_logit_softcapping"),
            logit_softcap=config.get("final_logit_softcapping"),
            tied=config.get("tie_word_embeddings", family.tied),
            ropes=tuple(ropes[kind] for kind in kinds),
            windows=tuple(config["sliding_window"] if kind == SLIDING else None for kind in kinds),
        )


def _family(config: Mapping[str, Any]) -> Family:
    name = config.get("model_type", "")
    if name not in FAMILIES:
        raise OvertoneError(
            f"The architecture {name!r} is not supported; supported are {', '.join(FAMILIES)}."
        )
    return FAMILIES[name]


def _refuse_switches(config: Mapping[str, Any], family: Family) -> None:
    """Refuse settings in config.json that the decoder does not support for this family."""
    for name in ("hidden_act", "hidden_activation"):
        if config.get(name) and config[name] not in ACTIVATION_NAMES[family.activation]:
            raise OvertoneError(
                f"config.json says {name} {config[name]!r}; this architecture is supported only with "
                f"{ACTIVATION_NAMES[family.activation][0]!r}."
            )
    asked = next((name for name in NOT_COMPUTED if config.get(name)), None)
    if asked:
        raise OvertoneError(f"config.json says {asked} {config[asked]!r}, which is not supported.")


def _layer_kinds(config: Mapping[str, Any], family: Family) -> list[str]:
    """Return each layer's kind: full attention or sliding window."""
    num_layers = config["num_hidden_layers"]
    sliding = config.get("use_sliding_window", family.sliding) and config.get("sliding_window")
    if not sliding:
        return [FULL] * num_layers
    if config.get("layer_types"):
        return list(config["layer_types"])
    if "max_window_layers" in config:
        return [FULL if i < config["max_window_layers"] else SLIDING for i in range(num_layers)]
    pattern = config.get("sliding_window_pattern") or family.sliding_pattern
    return [FULL if pattern and (i + 1) % pattern == 0 else SLIDING for i in range(num_layers)]


def _rope_parameters(config: Mapping[str, Any], family: Family, kind: str) -> dict[str, Any]:
    """Return the rotary settings of a kind of layer as one flat dict, in whichever form config.json has them."""
    merged: dict[str, Any] = {"rope_theta": 10_000.0, "original_max_position_embeddings": _context(config)}
    merged.update(
        {name: config[name] for name in ("rope_theta", "partial_rotary_factor") if config.get(name)}
    )
    if kind == SLIDING and family.local_theta:
        merged["rope_theta"] = config.get("rope_local_base_freq") or family.local_theta
    else:
        merged.update(config.get("rope_scaling") or {})
    given = config.get("rope_parameters") or {}
    merged.update(given.get(kind, {}) if FULL in given or SLIDING in given else given)
    return merged


def _context(config: Mapping[str, Any]) -> int:
    return int(config.get("original_max_position_embeddings") or config["max_position_embeddings"])
