"""Training and serving on another device against the processor: on a GPU, and on a pretended device everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from overtone.engine.runner import TorchRunner
from overtone.engine.scheduler import Chunk, Sequence
from overtone.errors import OvertoneError
from overtone.model.decoder import Decoder
from overtone.model.device import choose_device
from overtone.train import attention, loop
from overtone.train.data import BatchOrder
from overtone.train.tuning import Recipe, Tuning
from tests import tiny
from tests.engine.conftest import random_adapter
from tests.pretend_device import pretend_device
from tests.train.texts import documents

CPU = torch.device("cpu")
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(params=["pretend", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    if request.param == "cuda":
        yield torch.device("cuda")
        return
    # inference mode has no room for the pretended device
    monkeypatch.setattr(TorchRunner, "step", torch.no_grad()(TorchRunner.step.__wrapped__))  # type: ignore[attr-defined]
    with pretend_device() as pretended:
        yield pretended


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base(tmp_path_factory.mktemp("bases"), width=128)


def test_what_is_left_behind_is_noticed() -> None:
    with pretend_device() as device:
        row = torch.ones(3, device=device)
        assert (row + 1).sum().item() == 6
        with pytest.raises(RuntimeError, match="among the device"):
            row + torch.ones(3)


def test_a_gpu_that_is_not_there_is_said_with_what_to_do() -> None:
    number = torch.cuda.device_count()
    problem = (
        f"OVERTONE_DEVICE is cuda:{number}, but PyTorch .* finds {number} CUDA devices; set it to auto or cpu"
    )
    with pytest.raises(OvertoneError, match=problem):
        choose_device(f"cuda:{number}")


def test_answers_are_the_processors(base: Path, device: torch.device) -> None:
    torch.testing.assert_close(answer(base, device), answer(base, CPU), atol=1e-3, rtol=0)


def answer(base: Path, device: torch.device) -> Tensor:
    """Return the logits after a prompt, and after one token more, of the base and of two adapters."""
    runner = TorchRunner(base, device)
    for slot in (1, 2):
        runner.install(slot, runner.prepare(random_adapter(base, seed=slot, rank=2 * slot)))
    sequences = [Sequence(n, "", [5 + n, 9, 200, 31]) for n in range(3)]
    for number, sequence in enumerate(sequences):
        sequence.blocks = [number]
    first = runner.step([Chunk(sequence, 0, 4) for sequence in sequences], range(3)).rows
    for sequence in sequences:
        sequence.ids.append(77)
    return torch.cat((first, runner.step([Chunk(sequence, 4, 1) for sequence in sequences], range(3)).rows))


@pytest.mark.parametrize("room", ["roomy", "long texts", "in parts"])
def test_training_is_the_processors(
    base: Path, device: torch.device, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if room == "long texts":  # pieces that are gathered instead of one block
        monkeypatch.setattr(attention, "BLOCK_ROWS", 8)
    if room == "in parts":  # every layer is computed again for the backward pass
        monkeypatch.setattr(loop, "max_tokens", lambda decoder: 12)
    losses, weights = train(base, device)
    expected_losses, expected_weights = train(base, CPU)
    assert losses == pytest.approx(expected_losses, rel=1e-4)
    torch.testing.assert_close(weights, expected_weights, atol=1e-4, rtol=1e-3)


def train(base: Path, device: torch.device) -> tuple[list[float], Tensor]:
    """Train two jobs together, one of them from its own checkpoint on; return losses and weights."""
    decoder, texts = Decoder.load(base, torch.float32, device), documents()
    orders = [BatchOrder(len(texts), epoch_count=2, batch_size=2, seed=seed) for seed in (1, 2)]
    recipe = Recipe(0.01, rank=4, alpha=8.0)
    first, second = (Tuning(decoder.config, texts, order, recipe, device=device) for order in orders)
    losses = []
    while not (first.done and second.done):
        steps = loop.run_pass(decoder, [tuning for tuning in (first, second) if not tuning.done], 1000)
        losses += [step.mean_loss for step in steps if step]
        first.restore(first.save())
    return losses, torch.cat((first.save().parameters, second.save().parameters))
