"""Adapter files, exchanged with peft in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from overtone.errors import OvertoneError
from overtone.model.adapter import Adapter, load_adapter, save_adapter
from overtone.model.decoder import Decoder
from overtone.model.lora import JobRows, LoraWeights, project_with
from overtone.model.projections import BY_MODULE
from tests.model.plain_attention import causal
from tests.model.tiny import make_base, random_adapter

# peft asks transformers 5 by a name that it has since replaced.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

IDS = torch.tensor([5, 9, 33, 2, 60, 17])


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Adapter, str]:
    make_base(tmp_path / "base")
    adapter = random_adapter(Decoder.load(tmp_path / "base"), rank=3, alpha=5.0, seed=1)
    return tmp_path / "adapter", adapter, save_adapter(tmp_path / "adapter", adapter, "a-base", "r1")


def test_what_is_saved_is_loaded(saved: tuple[Path, Adapter, str]) -> None:
    folder, adapter, digest = saved

    loaded = load_adapter(folder, digest, "a-base")

    assert (loaded.rank, loaded.alpha) == (3, 5.0)
    assert loaded.a.keys() == adapter.a.keys()
    assert all(np.array_equal(loaded.a[place], adapter.a[place]) for place in adapter.a)
    assert all(np.array_equal(loaded.b[place], adapter.b[place]) for place in adapter.b)


@torch.no_grad()
def test_peft_reads_ours_and_computes_the_same(saved: tuple[Path, Adapter, str], tmp_path: Path) -> None:
    folder, adapter, _ = saved
    oracle = PeftModel.from_pretrained(make_base(tmp_path / "base"), folder)

    torch.testing.assert_close(
        our_logits(tmp_path / "base", adapter), oracle(IDS[None]).logits[0], atol=1e-4, rtol=0
    )


@torch.no_grad()
@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_ours_reads_peft_and_computes_the_same(rank_stabilised: bool, tmp_path: Path) -> None:
    config = LoraConfig(r=4, lora_alpha=6, target_modules=list(BY_MODULE), use_rslora=rank_stabilised)
    oracle = get_peft_model(make_base(tmp_path / "base"), config).eval()
    for name, parameter in oracle.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0.0, 0.2)
    oracle.save_pretrained(tmp_path / "adapter")

    ours_TV = our_logits(tmp_path / "base", load_adapter(tmp_path / "adapter"))

    torch.testing.assert_close(ours_TV, oracle(IDS[None]).logits[0], atol=1e-4, rtol=0)


def our_logits(base_folder: Path, adapter: Adapter) -> torch.Tensor:
    decoder = Decoder.load(base_folder)
    lora = LoraWeights(decoder.config, adapter.rank, adapter.alpha)
    lora.copy_from(adapter)
    project = project_with(decoder, [JobRows(lora, slice(0, len(IDS)))])
    return decoder.logits(decoder.forward(IDS, torch.arange(len(IDS)), causal(decoder.config), project))


def test_saving_again_replaces_and_leaves_nothing_beside(saved: tuple[Path, Adapter, str]) -> None:
    folder, adapter, digest = saved
    assert save_adapter(folder, adapter, "a-base", "r1") == digest
    assert {path.name for path in folder.parent.iterdir()} == {"base", "adapter"}


def test_a_damaged_file_is_refused(saved: tuple[Path, Adapter, str]) -> None:
    folder, _, digest = saved
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(OvertoneError, match="digest differs"):
        load_adapter(folder, digest)


def test_a_cut_file_is_refused_without_a_digest_too(saved: tuple[Path, Adapter, str]) -> None:
    weights = saved[0] / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(OvertoneError, match="is damaged"):
        load_adapter(saved[0])


def test_an_adapter_of_another_base_is_refused(saved: tuple[Path, Adapter, str]) -> None:
    with pytest.raises(OvertoneError, match="belongs to the base a-base, not to another"):
        load_adapter(saved[0], base_id="another")


def test_a_missing_adapter_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(OvertoneError, match="cannot be read: No such file"):
        load_adapter(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"use_dora": True}, "uses use_dora"),
        ({"modules_to_save": ["lm_head"]}, "uses modules_to_save"),
        ({"peft_type": "IA3"}, "is not the config of a LoRA"),
        ({"r": 4}, "do not pair up at rank 4"),
    ],
)
def test_what_we_do_not_compute_is_refused(
    change: dict[str, object], said: str, saved: tuple[Path, Adapter, str]
) -> None:
    path = saved[0] / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(OvertoneError, match=said):
        load_adapter(saved[0])
