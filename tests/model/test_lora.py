"""Our LoRA over joined projections against peft: the same logits, the same gradients; and several adapters at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from overtone.model.adapter import Adapter, Place
from overtone.model.decoder import Decoder
from overtone.model.lora import JobRows, LoraWeights, project_with
from overtone.model.projections import BY_MODULE
from tests.model.plain_attention import causal
from tests.model.tiny import VOCAB, make_base, random_adapter

# peft asks transformers 5 by a name that it has since replaced.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

IDS = torch.arange(3, 23) * 7 % VOCAB


@pytest.fixture
def decoder(tmp_path: Path) -> Decoder:
    make_base(tmp_path)
    return Decoder.load(tmp_path)


def lora_of(decoder: Decoder, adapter: Adapter) -> LoraWeights:
    lora = LoraWeights(decoder.config, adapter.rank, adapter.alpha)
    lora.copy_from(adapter)
    return lora


def loss_of(logits_TV: Tensor) -> Tensor:
    return F.cross_entropy(logits_TV[:-1], IDS[1:])


def backward(decoder: Decoder, jobs: Sequence[JobRows]) -> Tensor:
    """Run the text through the jobs' adapters and back; return its logits."""
    project = project_with(decoder, jobs)
    hidden_TD = decoder.forward(IDS, torch.arange(len(IDS)), causal(decoder.config), project)
    logits_TV = decoder.logits(hidden_TD)
    loss_of(logits_TV).backward()
    return logits_TV.detach()


def grads_by_place(lora: LoraWeights) -> Adapter:
    """Return the gradients in the form of an adapter."""
    lora.flat.copy_(lora.grad)
    return lora.to_adapter()


def make_peft(folder: Path, adapter: Adapter) -> PeftModel:
    return with_peft(make_base(folder), adapter)


def with_peft(model: PreTrainedModel, adapter: Adapter) -> PeftModel:
    """Return transformers' model with the adapter as peft's own."""
    config = LoraConfig(r=adapter.rank, lora_alpha=adapter.alpha, target_modules=list(BY_MODULE))
    oracle = get_peft_model(model, config)
    for name, parameter in oracle.named_parameters():
        if "lora_" in name:
            place, side = place_of(name)
            matrices = adapter.a if side == "lora_A" else adapter.b
            parameter.data.copy_(torch.from_numpy(matrices[place]))
    return oracle


def place_of(name: str) -> tuple[Place, str]:
    parts = name.split(".")
    layer, target = int(parts[parts.index("layers") + 1]), parts[-4]
    return (layer, target), parts[-3]


def test_logits_and_gradients_are_those_of_peft(decoder: Decoder, tmp_path: Path) -> None:
    adapter = random_adapter(decoder, rank=3, alpha=4.0, seed=1)
    oracle, lora = make_peft(tmp_path, adapter), lora_of(decoder, adapter)

    ours_TV = backward(decoder, [JobRows(lora, slice(0, len(IDS)))])
    theirs_TV = oracle(IDS[None]).logits[0]
    loss_of(theirs_TV).backward()

    torch.testing.assert_close(ours_TV, theirs_TV.detach(), atol=1e-4, rtol=0)
    ours = grads_by_place(lora)
    for name, parameter in oracle.named_parameters():
        if parameter.requires_grad:
            place, side = place_of(name)
            ours_side = (ours.a if side == "lora_A" else ours.b)[place]
            np.testing.assert_allclose(ours_side, parameter.grad.numpy(), atol=1e-5, rtol=1e-5)


def test_gradients_of_two_passes_add_up(decoder: Decoder) -> None:
    lora = lora_of(decoder, random_adapter(decoder, rank=3, alpha=4.0, seed=1))
    backward(decoder, [JobRows(lora, slice(0, len(IDS)))])
    once = lora.grad.clone()

    backward(decoder, [JobRows(lora, slice(0, len(IDS)))])

    torch.testing.assert_close(lora.grad, 2 * once)


def test_each_slice_goes_through_its_own_adapter_only(decoder: Decoder) -> None:
    small = lora_of(decoder, random_adapter(decoder, rank=2, alpha=4.0, seed=1))
    large = lora_of(decoder, random_adapter(decoder, rank=5, alpha=1.0, seed=2))
    x_TI = torch.randn(9, decoder.config.width)

    both = project_with(decoder, [JobRows(small, slice(0, 4)), JobRows(large, slice(4, 9))])(1, "qkv", x_TI)

    first = project_with(decoder, [JobRows(small, slice(0, 4))])(1, "qkv", x_TI[:4])
    second = project_with(decoder, [JobRows(large, slice(0, 5))])(1, "qkv", x_TI[4:])
    torch.testing.assert_close(both, torch.cat((first, second)))


def test_rows_without_an_adapter_see_the_bare_base(decoder: Decoder) -> None:
    lora = lora_of(decoder, random_adapter(decoder, rank=2, alpha=4.0, seed=1))
    x_TI = torch.randn(9, decoder.config.width)

    y_TO = project_with(decoder, [JobRows(lora, slice(0, 4))])(0, "gate_up", x_TI)

    torch.testing.assert_close(y_TO[4:], decoder.project(0, "gate_up", x_TI)[4:])


def test_a_fresh_adapter_adds_nothing_and_is_made_by_its_seed(decoder: Decoder) -> None:
    first, second, other = (LoraWeights(decoder.config, 4, 8.0) for _ in range(3))
    first.randomise(3)
    second.randomise(3)
    other.randomise(4)

    assert torch.equal(first.flat, second.flat)
    assert not torch.equal(first.flat, other.flat)
    assert all(not matrix.any() for matrix in first.to_adapter().b.values())
    assert all(matrix.any() for matrix in first.to_adapter().a.values())


def test_a_half_precision_base_trains_a_float32_adapter(tmp_path: Path) -> None:
    make_base(tmp_path)
    exact, half = Decoder.load(tmp_path), Decoder.load(tmp_path, torch.bfloat16)
    loras = [lora_of(decoder, random_adapter(decoder, 3, 4.0, seed=1)) for decoder in (exact, half)]

    for decoder, lora in zip((exact, half), loras, strict=True):
        backward(decoder, [JobRows(lora, slice(0, len(IDS)))])

    assert loras[1].grad.dtype == torch.float32
    assert F.cosine_similarity(loras[0].grad, loras[1].grad, dim=0) > 0.99
