"""Adapters of Phi-3, which has packed modules, exchanged with peft in both directions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from overtone.errors import OvertoneError
from overtone.model.adapter import Adapter, load_adapter, save_adapter
from overtone.model.decoder import Decoder
from tests.model.test_adapter import IDS, our_logits
from tests.model.test_decoder import FAMILIES, make_oracle
from tests.model.test_lora import lora_of
from tests.model.tiny import random_adapter

# peft asks transformers 5 by a name that it has since replaced.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

MODULES = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    make_oracle(*FAMILIES["phi3"]).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapter(base: Path) -> Adapter:
    return replace(random_adapter(Decoder.load(base), rank=3, alpha=5.0, seed=1), packed=True)


def test_what_phi_3_learns_is_saved_packed(base: Path) -> None:
    decoder = Decoder.load(base)
    assert lora_of(decoder, random_adapter(decoder, rank=3, alpha=5.0, seed=1)).to_adapter().packed


@torch.no_grad()
def test_peft_reads_ours_and_computes_the_same(base: Path, adapter: Adapter, tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter", adapter, "a-base")

    oracle = PeftModel.from_pretrained(make_oracle(*FAMILIES["phi3"]), tmp_path / "adapter")

    torch.testing.assert_close(our_logits(base, adapter), oracle(IDS[None]).logits[0], atol=1e-4, rtol=0)


def test_what_is_saved_is_loaded(adapter: Adapter, tmp_path: Path) -> None:
    digest = save_adapter(tmp_path / "adapter", adapter, "a-base")

    loaded = load_adapter(tmp_path / "adapter", digest, "a-base")

    assert (loaded.rank, loaded.alpha, loaded.packed) == (3, 5.0, True)
    assert loaded.a.keys() == adapter.a.keys()
    assert all(np.array_equal(loaded.a[place], adapter.a[place]) for place in adapter.a)
    assert all(np.array_equal(loaded.b[place], adapter.b[place]) for place in adapter.b)


@torch.no_grad()
def test_ours_reads_peft_and_computes_the_same(base: Path, tmp_path: Path) -> None:
    config = LoraConfig(r=4, lora_alpha=6, target_modules=MODULES)
    oracle = get_peft_model(make_oracle(*FAMILIES["phi3"]), config).eval()
    for name, parameter in oracle.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0.0, 0.2)
    oracle.save_pretrained(tmp_path / "adapter")

    ours_TV = our_logits(base, load_adapter(tmp_path / "adapter"))

    torch.testing.assert_close(ours_TV, oracle(IDS[None]).logits[0], atol=1e-4, rtol=0)


def test_a_module_whose_parts_cannot_be_told_apart_is_refused(adapter: Adapter, tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapter", adapter, "a-base")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    next(tensor for name, tensor in tensors.items() if "qkv_proj.lora_B" in name).fill_(1.0)
    path.write_bytes(safetensors.torch.save(tensors))

    with pytest.raises(OvertoneError, match="share more than their input"):
        load_adapter(tmp_path / "adapter")
