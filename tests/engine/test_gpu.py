"""The plain runner on a GPU against itself on the processor."""

from pathlib import Path

import pytest
import torch

from overtone.engine.runner import TorchRunner
from overtone.engine.scheduler import Chunk, Sequence
from tests.engine.conftest import random_adapter

pytestmark = pytest.mark.gpu


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_gpu_computes_what_the_processor_computes(base: Path) -> None:
    results = []
    for device in ("cpu", "cuda"):
        runner = TorchRunner(base, torch.device(device))
        runner.install(1, runner.prepare(random_adapter(base, seed=1)))
        sequences = [Sequence(n, "", [5 + n, 9, 200, 31]) for n in range(2)]
        for number, sequence in enumerate(sequences):
            sequence.blocks = [number]
        results.append(runner.step([Chunk(sequence, 0, 4) for sequence in sequences], [0, 1]).rows)
    torch.testing.assert_close(results[1], results[0], atol=1e-3, rtol=0)
