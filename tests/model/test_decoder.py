"""Our decoder against transformers on tiny random models of every family we claim."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from overtone.errors import OvertoneError
from overtone.model.decoder import Decoder
from overtone.model.decoder_config import DecoderConfig
from tests.model.plain_attention import causal

SIZES: dict[str, Any] = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.25,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 32}
WINDOW = {"sliding_window": 5}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": False}),
    "llama with biases": ("Llama", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "llama 3 rope": ("Llama", {"rope_parameters": LLAMA3}),
    "yarn rope": ("Llama", {"rope_parameters": YARN}),
    "linear rope": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}},
    ),
    "mistral": ("Mistral", WINDOW),
    "qwen2": ("Qwen2", {"use_sliding_window": True, "max_window_layers": 2, **WINDOW}),
    "qwen3": ("Qwen3", {}),
    "phi3": (
        "Phi3",
        {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default", "partial_rotary_factor": 0.5}},
    ),
    "olmo2": ("Olmo2", {}),
    "gemma": ("Gemma", {}),
    "gemma2": ("Gemma2", {"query_pre_attn_scalar": 16, **WINDOW}),
    "gemma3": ("Gemma3Text", {"query_pre_attn_scalar": 16, "_sliding_window_pattern": 3, **WINDOW}),
}


def make_oracle(kind: str, extra: dict[str, Any]) -> Any:
    """Return transformers' model of this kind with random weights, its norms and biases random as well."""
    torch.manual_seed(7)
    config = getattr(transformers, f"{kind}Config")(**SIZES | extra, attn_implementation="eager")
    model_class = getattr(transformers, f"{kind.removesuffix('Text')}ForCausalLM")
    model = model_class(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.3)
    return model


def logits_of(decoder: Decoder, ids_T: Tensor) -> Tensor:
    hidden_TD = decoder.forward(ids_T, torch.arange(len(ids_T)), causal(decoder.config), decoder.project)
    return decoder.logits(hidden_TD)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    oracle = make_oracle(*FAMILIES[request.param])
    oracle.save_pretrained(tmp_path)
    return oracle, tmp_path


@torch.no_grad()
def test_our_logits_are_those_of_transformers(family: tuple[Any, Path]) -> None:
    oracle, folder = family
    ids_T = torch.randint(3, SIZES["vocab_size"], (24,))

    ours_TV = logits_of(Decoder.load(folder), ids_T)

    torch.testing.assert_close(ours_TV, oracle(ids_T[None]).logits[0], atol=1e-4, rtol=0)


@torch.no_grad()
def test_kept_rows_are_the_same_rows(family: tuple[Any, Path]) -> None:
    decoder = Decoder.load(family[1])
    ids_T, keep = torch.randint(3, SIZES["vocab_size"], (12,)), torch.tensor([3, 11])
    attend = causal(decoder.config)

    all_TD = decoder.forward(ids_T, torch.arange(12), attend, decoder.project)
    kept_TD = decoder.forward(ids_T, torch.arange(12), attend, decoder.project, keep)

    torch.testing.assert_close(kept_TD, all_TD[keep])


@pytest.mark.parametrize("kind", ["Llama", "Gemma2", "Gemma3Text"])
def test_a_config_of_transformers_4_means_the_same(kind: str, tmp_path: Path) -> None:
    oracle = make_oracle(kind, {"sliding_window": 5} if "Gemma" in kind else {"rope_parameters": LLAMA3})
    oracle.save_pretrained(tmp_path)
    modern = json.loads((tmp_path / "config.json").read_text())

    assert DecoderConfig.parse(as_written_by_transformers_4(modern)) == DecoderConfig.parse(modern)


def as_written_by_transformers_4(modern: dict[str, Any]) -> dict[str, Any]:
    old = {name: value for name, value in modern.items() if name not in ("rope_parameters", "layer_types")}
    rope = modern["rope_parameters"]
    if "full_attention" in rope:
        return old | {
            "rope_theta": rope["full_attention"]["rope_theta"],
            "rope_local_base_freq": rope["sliding_attention"]["rope_theta"],
        }
    return old | {
        "rope_theta": rope["rope_theta"],
        "rope_scaling": rope if rope["rope_type"] != "default" else None,
    }


def test_an_unknown_architecture_is_named() -> None:
    with pytest.raises(OvertoneError, match="'mamba'"):
        DecoderConfig.parse({"model_type": "mamba"})


def test_an_unknown_rope_is_named() -> None:
    config = {"model_type": "llama", "rope_scaling": {"rope_type": "longrope"}, "num_hidden_layers": 1}
    with pytest.raises(OvertoneError, match="'longrope'"):
        DecoderConfig.parse(SIZES | config)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    make_oracle("Llama", {"num_hidden_layers": 1}).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))

    with pytest.raises(OvertoneError, match=r"model\.layers\.1.self_attn.q_proj.weight"):
        Decoder.load(tmp_path)
