"""Which way a base is trained, for each kind of processor that people have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from overtone import processor
from overtone.train import precision
from overtone.train.training_base import TrainingBase
from tests import tiny
from tests.model.test_decoder import FAMILIES, make_oracle

CPU = torch.device("cpu")
AVX2 = {"avx", "avx2", "fma"}
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512vnni"}
PROCESSORS = {  # what LLVM says of them → the way that the default base takes there
    "2013: AVX2": (AVX2, "compiled kernels in 16-bit integers"),
    "2021: AVX-512 with VNNI": (AVX512, "compiled kernels in 16-bit integers"),
    "2022: AVX512-BF16": (AVX512 | {"avx512bf16"}, "compiled kernels in 16-bit integers"),
    "2023: AMX": (AVX512 | {"avx512bf16", "amx-tile", "amx-int8", "amx-bf16"}, "compiled kernels in 16-bit integers"),
    "arm64": ({"neon", "dotprod", "bf16"}, "compiled kernels in float32"),
    "2008: SSE": ({"sse4.2"}, "plain PyTorch in float32 (the processor has no fused multiply-add)"),
}  # fmt: skip


def pretend(features: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "features", lambda: frozenset(features))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base(tmp_path_factory.mktemp("bases"))


@pytest.mark.parametrize(("features", "way"), PROCESSORS.values(), ids=PROCESSORS)
def test_a_base_with_blocks_takes_integers_on_every_processor_that_has_avx2(
    features: set[str], way: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(features, monkeypatch)
    assert str(precision.choose(base, CPU)) == way


@pytest.mark.parametrize("features", [AVX2, AVX512 | {"avx512bf16", "amx-bf16"}], ids=["AVX2", "AMX"])
def test_a_family_without_kernels_is_trained_in_float32_on_every_processor(
    features: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, extra = FAMILIES["qwen3"]
    make_oracle(kind, extra).save_pretrained(tmp_path)
    pretend(features, monkeypatch)

    chosen = precision.choose(tmp_path, CPU)

    assert chosen.dtype == torch.float32
    assert "do not support this family" in chosen.obstacle


def test_what_was_chosen_is_what_is_loaded(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(processor.features() | {"avx512bf16", "amx-bf16"}, monkeypatch)
    loaded = TrainingBase.load(base, CPU)
    assert loaded.decoder.dtype == torch.float32
    compiled = loaded.compiled_for([])
    assert compiled is not None
    assert compiled.in_integers == processor.has_avx2()


def test_a_precision_that_is_named_is_obeyed(base: Path) -> None:
    assert str(precision.choose(base, CPU, "float32")).startswith("compiled kernels in float32")
    assert str(precision.choose(base, CPU, "bfloat16")).startswith("plain PyTorch in bfloat16")
    assert TrainingBase.load(base, CPU, "bfloat16").decoder.dtype == torch.bfloat16


def test_a_base_without_blocks_takes_the_kernels_in_float32(tmp_path: Path) -> None:
    folder = tiny.make_base(tmp_path)
    (folder / "blocks.safetensors").unlink()
    assert str(precision.choose(folder, CPU)) == "compiled kernels in float32"
    assert not TrainingBase.load(folder, CPU).in_integers
