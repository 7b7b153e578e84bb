"""The projections against llama.cpp's names and orders of rows, both ways, and against transformers' modules."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch
from gguf.tensor_mapping import TensorNameMap

from overtone.bases.gguf_base import gguf_name, hf_name
from overtone.model.decoder_config import DecoderConfig
from overtone.model.projections import (
    JOINED,
    PACKED,
    TABLE,
    module_path,
    module_sizes,
    to_gguf_order,
    to_hf_order,
)
from tests.model.test_decoder import FAMILIES, make_oracle

LLAMA_CPP = TensorNameMap(gguf.MODEL_ARCH.LLAMA, 4)


@pytest.mark.parametrize("module", [projection.module for projection in TABLE])
def test_the_gguf_names_are_llama_cpps(module: str) -> None:
    name = f"model.layers.3.{module_path(module)}"
    theirs = LLAMA_CPP.get_name(name)
    assert gguf_name(f"{name}.weight") == f"{theirs}.weight"
    assert hf_name(f"{theirs}.weight") == f"{name}.weight"


@pytest.mark.parametrize(
    "name", ["token_embd.weight", "output.weight", "output_norm.weight", "blk.11.ffn_norm.weight"]
)
def test_other_names_go_there_and_back(name: str) -> None:
    assert gguf_name(hf_name(name)) == name


def test_rows_are_interleaved_as_llama_cpp_does_and_come_back() -> None:
    rows = np.arange(64 * 3).reshape(64, 3)
    # convert_hf_to_gguf.py, LlamaModel.permute
    theirs = rows.reshape(4, 2, 8, 3).swapaxes(1, 2).reshape(rows.shape)
    assert np.array_equal(to_gguf_order(rows, 4), theirs)
    assert np.array_equal(to_hf_order(theirs, 4), rows)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_modules_and_their_sizes_are_those_of_transformers(family: str) -> None:
    oracle = make_oracle(*FAMILIES[family])
    sizes = module_sizes(DecoderConfig.parse(oracle.config.to_dict()))
    layer = oracle.model.layers[0]
    found = {
        name: (part.in_features, part.out_features)
        for name, part in layer.named_modules()
        if isinstance(part, torch.nn.Linear)
    }
    assert found == {module_path(module): size for module, size in sizes.items()}


def test_packed_modules_are_joined_projections() -> None:
    oracle = make_oracle(*FAMILIES["phi3"])
    sizes = module_sizes(DecoderConfig.parse(oracle.config.to_dict()))
    layer = oracle.model.layers[0]
    for joined, packed in PACKED.items():
        rows = layer.get_submodule(module_path(packed)).out_features
        assert rows == sum(sizes[module][1] for module in JOINED[joined])
