"""A base folder is what its config.json says, or is refused with the file and the numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from overtone.bases import fetch
from overtone.bases.base_check import check_base, check_weights
from overtone.engine.open import open_runner
from overtone.errors import OvertoneError
from overtone.train.training_base import TrainingBase
from tests import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.make_base(tmp_path / "bases")


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def test_a_sound_base_passes(folder: Path) -> None:
    check_base(folder)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"vocab_size": 320_000},
            "model.embed_tokens.weight has the shape 288×64; config.json says 320000×64",
        ),
        ({"intermediate_size": 160}, "mlp.gate_proj.weight has the shape 128×64; config.json says 160×64"),
        ({"num_key_value_heads": 4}, "self_attn.k_proj.weight has the shape 32×64; config.json says 64×64"),
        ({"head_dim": 32}, "self_attn.q_proj.weight has the shape"),
        ({"num_hidden_layers": 3}, "have no model.layers.2.self_attn.q_proj.weight"),
        ({"num_hidden_layers": 1}, "hold model.layers.1"),
        ({"num_hidden_layers": 0}, "a size below 1"),
        ({"num_attention_heads": 0}, "a size below 1"),
        ({"num_key_value_heads": 3}, "not a multiple of 3 num_key_value_heads"),
        ({"hidden_size": "x", "head_dim": None}, "an invalid value"),
        ({"tie_word_embeddings": False}, "have no lm_head.weight"),
        ({"quantization_config": {"quant_method": "fp8"}}, r"quantised \(fp8\)"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"model_type": "mixtral"}, "'mixtral' is not supported; supported are llama"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "config.json has no factor"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2}}, "'dynamic' of this model is not supported"),
    ],
)
def test_what_config_json_says_is_held_against_the_weights(
    folder: Path, values: dict[str, Any], sentence: str
) -> None:
    change_config(folder, **values)
    with pytest.raises(OvertoneError, match=sentence):
        check_weights(folder)


@pytest.mark.parametrize(
    ("name", "tensor", "sentence"),
    [
        ("model.layers.0.self_attn.q_proj.weight_scale_inv", np.ones(1, np.float32), "weight_scale_inv"),
        ("model.layers.0.input_layernorm.bias", np.ones(64, np.float32), "input_layernorm.bias"),
        ("model.layers.0.mlp.up_proj.weight", np.ones((128, 64), np.int8), "has the type I8"),
    ],
)
def test_weights_of_another_form_are_refused(folder: Path, name: str, tensor: Any, sentence: str) -> None:
    change_weights(folder, lambda weights: weights.update({name: tensor}))
    with pytest.raises(OvertoneError, match=sentence):
        check_weights(folder)


def test_more_rows_than_tokens_are_padding(folder: Path) -> None:
    change_config(folder, vocab_size=280)
    check_weights(folder)


def test_blocks_of_another_shape_are_refused(folder: Path) -> None:
    blocks = load_file(folder / "blocks.safetensors")
    name = next(name for name in blocks if name.endswith("up_proj.weight.q"))
    save_file({**blocks, name: blocks[name][:8]}, folder / "blocks.safetensors")
    with pytest.raises(OvertoneError, match="does not match the weight's 128×64"):
        check_weights(folder)


@pytest.mark.parametrize(
    "load",
    [
        lambda folder: open_runner(folder, "cpu", 8),
        lambda folder: TrainingBase.load(folder, torch.device("cpu")),
    ],
)
def test_nothing_is_computed_with_a_base_that_is_wrong(folder: Path, load: Callable[[Path], Any]) -> None:
    change_config(folder, intermediate_size=160)
    with pytest.raises(OvertoneError, match=r"config\.json says 160×64"):
        load(folder)


# --- pulls -----------------------------------------------------------------------------------------------


def pull(source: Path, bases: Path) -> Any:
    return fetch.pull_path(source, bases, "mine", lambda stage, done, total: None)


@pytest.fixture
def published(tmp_path: Path, folder: Path) -> Path:
    """A publisher's folder of safetensors."""
    source = tmp_path / "published"
    source.mkdir()
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"):
        (source / name).write_bytes((folder / name).read_bytes())
    return source


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("chat_template.jinja", "{{ raise_exception('system first') }}", "system first"),
        ("chat_template.jinja", "{% for %}", "template of the base model is damaged"),
        ("config.json", "{", r"config\.json is not JSON"),
        ("config.json", "[]", "is not a JSON object"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        ("generation_config.json", "{", r"generation_config\.json is not JSON"),
        ("model.safetensors", "", "not a safetensors file"),
    ],
)
def test_a_pull_that_fails_leaves_nothing(
    published: Path, tmp_path: Path, file: str, content: str, sentence: str
) -> None:
    (published / file).write_text(content)
    with pytest.raises(OvertoneError, match=sentence):
        pull(published, tmp_path / "new")
    assert not [path for path in (tmp_path / "new").iterdir() if path.is_dir()]


def test_a_byte_order_mark_is_no_fault(published: Path, tmp_path: Path) -> None:
    path = published / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    pull(published, tmp_path / "new")
    json.loads((tmp_path / "new/mine/config.json").read_text())


def test_pulling_again_replaces_what_is_here(published: Path, tmp_path: Path) -> None:
    bases = tmp_path / "new"
    first = pull(published, bases)
    assert first.pulled_on and pull(published, bases) == first
    change_weights(
        published, lambda weights: weights.update({"model.norm.weight": weights["model.norm.weight"] * 2})
    )
    assert pull(published, bases).revision != first.revision
    (published / "model.safetensors").unlink()
    with pytest.raises(OvertoneError, match=r"neither \*\.safetensors nor"):
        pull(published, bases)
    check_base(bases / "mine")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["model-00001-of-00002"], "model-00002-of-00002.safetensors is missing"),
        (["model", "model-00001-of-00001"], "weights of 2 models"),
        (["model-00001-of-00001", "model-00001-of-00002", "model-00002-of-00002"], "weights of 2 models"),
    ],
)
def test_the_files_of_one_whole_model_are_needed(
    published: Path, tmp_path: Path, names: list[str], sentence: str
) -> None:
    data = (published / "model.safetensors").read_bytes()
    (published / "model.safetensors").unlink()
    for name in names:
        (published / f"{name}.safetensors").write_bytes(data)
    with pytest.raises(OvertoneError, match=sentence):
        pull(published, tmp_path / "new")


def test_the_index_is_read(published: Path, tmp_path: Path) -> None:
    (published / "model.safetensors").rename(published / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (published / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        OvertoneError, match=r"model-00002-of-00002\.safetensors is missing: the model has 2 files"
    ):
        pull(published, tmp_path / "new")


def test_an_adapter_alone_is_no_base(published: Path, tmp_path: Path) -> None:
    (published / "model.safetensors").rename(published / "adapter_model.safetensors")
    (published / "adapter_config.json").write_text("{}")
    with pytest.raises(OvertoneError, match="only an adapter"):
        pull(published, tmp_path / "new")


@pytest.mark.parametrize(("given", "kept"), [(-1, 0), (20, 20), ("x", 64)])
def test_a_top_k_of_minus_one_means_off(published: Path, tmp_path: Path, given: Any, kept: int) -> None:
    (published / "generation_config.json").write_text(json.dumps({"top_k": given, "top_p": 7}))
    card = pull(published, tmp_path / "new")
    assert (card.top_k, card.top_p) == (kept, 0.95)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"split.count": 2}, "one of 2 parts"),
        ({"llama.rope.scaling.type": "yarn"}, "'yarn', which is not supported"),
        ({"llama.rope.dimension_count": 8}, "partial rotary embeddings"),
        ({"llama.logit_scale": 2.0}, "a logit scale"),
    ],
)
def test_a_gguf_that_is_computed_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(OvertoneError, match=sentence):
        pull(gguf_with(tmp_path, monkeypatch, fields), tmp_path / "new")


def test_a_gguf_s_linear_scaling_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
    pull(gguf_with(tmp_path, monkeypatch, fields), tmp_path / "new")
    config = json.loads((tmp_path / "new/mine/config.json").read_text())
    assert config["rope_scaling"] == {"rope_type": "linear", "factor": 4.0}


@pytest.mark.parametrize("size", [0, 10, 3_000, 30_000])
def test_a_gguf_cut_short_says_so(tmp_path: Path, size: int) -> None:
    file = tmp_path / "tiny.gguf"
    tiny.write_gguf(file)
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(OvertoneError, match="not a whole GGUF file"):
        pull(file, tmp_path / "new")


def gguf_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> Path:
    """Write the tiny GGUF with more fields."""
    shape = tiny._write_shape

    def with_more(writer: Any, width: int, num_layers: int) -> None:
        shape(writer, width, num_layers)
        for name, value in fields.items():
            {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[type(value)](
                name, value
            )

    monkeypatch.setattr(tiny, "_write_shape", with_more)
    tiny.write_gguf(tmp_path / "more.gguf")
    return tmp_path / "more.gguf"
