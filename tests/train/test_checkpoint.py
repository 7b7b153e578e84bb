from __future__ import annotations

from pathlib import Path

import pytest
import torch

from overtone.model.decoder import Decoder
from overtone.train.checkpoint import BackgroundSaver, list_checkpoints, load_newest, save_checkpoint
from overtone.train.data import BatchOrder
from overtone.train.loop import run_pass, tune
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Progress, Recipe, Tuning
from tests.model.tiny import make_base
from tests.train.texts import documents


@pytest.fixture
def base(tmp_path: Path) -> TrainingBase:
    make_base(tmp_path)
    return TrainingBase(Decoder.load(tmp_path))


def make_tuning(base: TrainingBase) -> Tuning:
    return Tuning(base.decoder.config, documents(), BatchOrder(5, 3, 2, seed=9), Recipe(0.01, rank=4))


def progress(step: int) -> Progress:
    return Progress(step, 1.0, torch.rand(7), torch.rand(7), torch.rand(7))


@pytest.mark.parametrize("interrupted_after", range(8))
def test_a_job_resumed_at_any_step_ends_with_the_same_bits(
    interrupted_after: int, base: TrainingBase, tmp_path: Path
) -> None:
    unbroken, first, second = (make_tuning(base) for _ in range(3))
    tune(base, unbroken, lambda step: None)

    for _ in range(interrupted_after):
        run_pass(base, [first], 1000)
    save_checkpoint(tmp_path / "checkpoints", first.save())
    saved = load_newest(tmp_path / "checkpoints", first.lora.flat.numel())
    assert saved is not None
    second.restore(saved)
    tune(base, second, lambda step: None)

    assert torch.equal(second.lora.flat, unbroken.lora.flat)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, progress(step))
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-00000010.checkpoint",
        "step-00000002.checkpoint",
    ]


@pytest.mark.parametrize(
    "damage", [lambda content: content[:-9], lambda content: content[:99] + b"?" + content[100:]]
)
def test_a_damaged_newest_gives_way_to_the_one_before(damage, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    save_checkpoint(tmp_path, progress(1))
    newest = save_checkpoint(tmp_path, progress(2))
    newest.write_bytes(damage(newest.read_bytes()))

    found = load_newest(tmp_path, num_parameters=7)

    assert found is not None
    assert found.step == 1


def test_nothing_or_another_size_is_no_checkpoint(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "missing", 7) is None
    save_checkpoint(tmp_path, progress(1))
    assert load_newest(tmp_path, num_parameters=8) is None


def test_an_unfinished_write_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / "step-00000009.partial").write_bytes(b"half")
    assert load_newest(tmp_path, 7) is None


def test_the_background_saver_writes_and_hands_on_its_error(tmp_path: Path) -> None:
    saver = BackgroundSaver(tmp_path / "checkpoints")
    saver.save(progress(3))
    saver.wait()
    assert len(list_checkpoints(tmp_path / "checkpoints")) == 1

    (tmp_path / "file").write_text("in the way")
    blocked = BackgroundSaver(tmp_path / "file")
    blocked.save(progress(3))
    with pytest.raises(OSError, match="file"):
        blocked.wait()
