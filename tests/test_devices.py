"""Training and serving on another device against the processor: on a GPU, and on a pretended device everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from overtone.engine.scheduler import Chunk, Sequence
from overtone.engine.torch_runner import TorchRunner
from overtone.errors import OvertoneError
from overtone.model.decoder import Decoder
from overtone.model.device import choose_device
from overtone.train import attention, loop
from overtone.train.data import BatchOrder
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Recipe, Tuning
from tests import pretend_device, tiny
from tests.engine.conftest import random_adapter
from tests.train.texts import documents

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
ROOMS: dict[str, dict[str, Any]] = {
    "roomy": {},
    "long texts": {
        "target": attention,
        "DENSE_ROWS": 8,
    },  # chunks that are gathered instead of one dense bucket
    "short of memory": {"target": loop, "max_tokens": lambda decoder: 12},  # layers are computed again
}

Run = Callable[..., Any]


@pytest.fixture(scope="module", params=["pretend", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])])
def run_there(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Call a function with a device's name, where there is the device: the pretended one has its own process."""
    if request.param == "cuda":
        yield lambda function, *arguments: function("cuda", *arguments)
        return
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=pretend) as pool:
        yield lambda function, *arguments: pool.submit(partial(function, "pretend"), *arguments).result()


def pretend() -> None:
    pretend_device.pretend_from_now_on()
    # inference mode has no room for the pretended device
    TorchRunner.step = torch.no_grad()(TorchRunner.step.__wrapped__)  # type: ignore[attr-defined, method-assign]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base(tmp_path_factory.mktemp("bases"), width=128)


def test_what_is_left_behind_is_noticed(run_there: Run) -> None:
    assert run_there(add_ones, "there") == 6
    with pytest.raises(RuntimeError, match="device"):
        run_there(add_ones, "here")


def add_ones(device: str, place: str) -> float:
    ones = torch.ones(3, device=device)
    return (ones + torch.ones(3, device=device if place == "there" else "cpu")).sum().item()


def test_a_gpu_that_is_not_there_is_said_with_what_to_do() -> None:
    number = torch.cuda.device_count()
    problem = (
        f"OVERTONE_DEVICE is cuda:{number}, but PyTorch .* finds {number} CUDA devices; set it to auto or cpu"
    )
    with pytest.raises(OvertoneError, match=problem):
        choose_device(f"cuda:{number}")


def test_answers_are_the_processors(base: Path, run_there: Run) -> None:
    np.testing.assert_allclose(run_there(answer, base), answer("cpu", base), atol=1e-3, rtol=0)


def answer(device: str, base: Path) -> Any:
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
    return np.concatenate(
        (first, runner.step([Chunk(sequence, 4, 1) for sequence in sequences], range(3)).rows)
    )


@pytest.mark.parametrize("room", ROOMS)
def test_training_is_the_processors(base: Path, run_there: Run, room: str) -> None:
    losses, weights = run_there(train, base, room)
    expected_losses, expected_weights = train("cpu", base, room)
    assert losses == pytest.approx(expected_losses, rel=1e-4)
    torch.testing.assert_close(weights, expected_weights, atol=1e-4, rtol=1e-3)


def train(device: str, base: Path, room: str) -> tuple[list[float], Tensor]:
    """Train two jobs together, one of them from its own checkpoint on; return losses and weights."""
    model = TrainingBase(Decoder.load(base, torch.float32, device))
    texts = documents()
    orders = [BatchOrder(len(texts), epoch_count=2, batch_size=2, seed=seed) for seed in (1, 2)]
    recipe, losses = Recipe(0.01, rank=4, alpha=8.0), []
    first, second = (Tuning(model.decoder.config, texts, order, recipe, device=device) for order in orders)
    with ExitStack() as stack:
        if ROOMS[room]:
            stack.enter_context(mock.patch.multiple(**ROOMS[room]))
        while not (first.done and second.done):
            steps = loop.run_pass(model, [tuning for tuning in (first, second) if not tuning.done], 1000)
            losses += [step.mean_loss for step in steps if step]
            first.restore(first.save())
    return losses, torch.cat((first.save().parameters, second.save().parameters))
