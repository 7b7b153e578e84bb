"""The default base as it is served, against the float32 weights on which adapters are trained."""

from pathlib import Path

import pytest

from overtone.bases.chat import Chat
from overtone.engine.cpu_runner import CpuRunner
from overtone.engine.scheduler import Chunk, Sequence
from overtone.engine.torch_runner import TorchRunner
from tests import real

pytestmark = pytest.mark.slow

QUESTIONS = ("What is the capital of France?", "LXIII", "Write a Haiku about rivers, please.")


@pytest.fixture(scope="module")
def default_base() -> Path:
    return real.base_folder()


def test_served_logits_stay_close_to_the_trained_ones(default_base: Path) -> None:
    chat, served = Chat(default_base), CpuRunner(default_base, max_rows=256)
    trained = TorchRunner(default_base)
    for question in QUESTIONS:
        sequence = Sequence(0, "", chat.prompt_ids([{"role": "user", "content": question}]))
        sequence.blocks = list(range(16))
        ours, theirs = (
            runner.step([Chunk(sequence, 0, len(sequence.ids))], [0]).rows for runner in (served, trained)
        )
        distance = abs(ours - theirs)
        assert float(distance.max()) < 0.05, (
            "logits deviate by about 3; float16 keys and values, 16-bit rounding"
        )
        assert int(ours.argmax()) == int(theirs.argmax())
