"""The compiled kernels against the plain runner in float32, and a row against itself in company."""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from overtone.engine.cpu_runner import Array, CpuRunner
from overtone.engine.open import open_runner
from overtone.engine.runner import Runner
from overtone.engine.scheduler import Chunk, Sequence
from overtone.engine.torch_runner import TorchRunner
from tests import tiny
from tests.engine.conftest import random_adapter
from tests.tiny import QuantType

TEXTS = [[5, 9, 200, 31, 77, 6, 45, 8, 9, 12, 250, 33, 4], [7, 7, 8], [100, 3, 5, 60, 61, 62, 63]]
TOLERANCE = 0.02  # of logits with a deviation of about 1: float16 keys, values and adapters


@pytest.fixture(scope="module")
def fast(base: Path) -> Iterator[CpuRunner]:
    runner = CpuRunner(base, max_rows=64, num_threads=2)
    install(runner, base)
    yield runner


@pytest.fixture(scope="module")
def plain(base: Path) -> TorchRunner:
    runner = TorchRunner(base)
    install(runner, base)
    return runner


def install(runner: Runner, base: Path) -> None:
    """Adapters of different ranks, the last one with two targets only."""
    runner.install(1, runner.prepare(random_adapter(base, seed=1, rank=4)))
    runner.install(2, runner.prepare(random_adapter(base, seed=2, rank=24, modules=("v_proj", "up_proj"))))


def sequences(texts: list[list[int]]) -> list[Sequence]:
    made = [Sequence(n, "", list(text)) for n, text in enumerate(texts)]
    for number, sequence in enumerate(made):
        sequence.blocks = [number + 3 * n for n in range(2)]  # blocks of different texts interleave
    return made


def read(runner: Runner, texts: list[list[int]], slots: list[int]) -> Array:
    return runner.step([Chunk(s, 0, len(s.ids)) for s in sequences(texts)], slots).rows


@pytest.mark.parametrize("slots", [[0, 0, 0], [1, 1, 1], [2, 0, 1]])
def test_the_kernels_compute_what_the_decoder_computes(fast: Runner, plain: Runner, slots: list[int]) -> None:
    np.testing.assert_allclose(read(fast, TEXTS, slots), read(plain, TEXTS, slots), atol=TOLERANCE, rtol=0)


def test_a_row_is_the_same_alone_and_in_company(fast: Runner) -> None:
    slots = [2, 0, 1]
    together = read(fast, TEXTS, slots)
    alone = [read(fast, [text], [slot])[0] for text, slot in zip(TEXTS, slots, strict=True)]
    assert np.array_equal(together, np.stack(alone))


def test_many_rows_take_another_way_to_the_same_logits(fast: Runner) -> None:
    """From twelve rows on, the layers' and the head's weights are widened first."""
    texts = [[7 * n + 1, 5, n] for n in range(14)]
    made = [Sequence(n, "", text, blocks=[n]) for n, text in enumerate(texts)]
    together = fast.step([Chunk(s, 0, len(s.ids)) for s in made], [n % 3 for n in range(14)]).rows
    alone = [read(fast, [text], [n % 3])[0] for n, text in enumerate(texts)]
    assert np.array_equal(together, np.stack(alone))


def test_a_step_larger_than_the_working_memory_is_noticed(fast: Runner) -> None:
    sequence = Sequence(0, "", [5] * 65, blocks=list(range(5)))
    with pytest.raises(AssertionError, match="more rows"):
        fast.step([Chunk(sequence, 0, 65)], [0])


def test_a_text_is_the_same_in_any_chunks(fast: Runner) -> None:
    (whole,) = sequences(TEXTS[:1])
    at_once = fast.step([Chunk(whole, 0, 13)], [1]).rows
    for cuts in ([0, 5, 13], [0, 1, 2, 12, 13]):
        for start, end in pairwise(cuts):
            last = fast.step([Chunk(whole, start, end - start)], [1]).rows
        assert np.array_equal(last, at_once)


def test_the_number_of_threads_changes_nothing(base: Path, fast: Runner) -> None:
    single = CpuRunner(base, max_rows=64, num_threads=1)
    install(single, base)
    assert np.array_equal(read(single, TEXTS, [0, 1, 2]), read(fast, TEXTS, [0, 1, 2]))


def test_only_the_chunks_that_reach_the_end_have_logits(fast: Runner) -> None:
    first, second, third = sequences(TEXTS)
    logits = fast.step([Chunk(first, 0, 4), Chunk(second, 0, 3), Chunk(third, 0, 2)], [0, 0, 0]).rows
    assert np.array_equal(logits, read(fast, TEXTS[1:2], [0]))


def test_rows_are_summed_up_as_torch_does(fast: Runner) -> None:
    logits = fast.step([Chunk(s, 0, len(s.ids)) for s in sequences(TEXTS)], [0, 1, 2])
    expected = torch.from_numpy(logits.rows)
    assert logits.likeliest == expected.argmax(1).tolist()
    assert logits.log_totals == pytest.approx(expected.logsumexp(1).tolist(), abs=1e-5)


MIXED = {
    "a head of 4 bits": tiny.Kinds(embedding=QuantType.Q4_0),
    "an unknown kind in a layer": tiny.Kinds(others={"blk.0.ffn_down.weight": QuantType.Q5_0}),
}


@pytest.mark.parametrize("kinds", MIXED.values(), ids=MIXED)
def test_what_has_no_tiles_of_its_own_is_served_at_8_bits(kinds: tiny.Kinds, tmp_path: Path) -> None:
    folder = tiny.make_base(tmp_path, width=128, kinds=kinds)
    ours, exact = open_runner(folder, "cpu", max_rows=64), TorchRunner(folder)
    assert isinstance(ours, CpuRunner)
    np.testing.assert_allclose(read(ours, TEXTS, [0] * 3), read(exact, TEXTS, [0] * 3), atol=0.1, rtol=0)


def test_a_base_without_blocks_is_served_at_8_bits(base: Path, plain: Runner, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "floats")
    (folder / "blocks.safetensors").unlink()
    rounded = open_runner(folder, "cpu", max_rows=64)
    assert isinstance(rounded, CpuRunner)
    np.testing.assert_allclose(
        read(rounded, TEXTS, [0, 0, 0]), read(plain, TEXTS, [0, 0, 0]), atol=0.1, rtol=0
    )


def test_the_setting_chooses_float_weights(base: Path, plain: Runner) -> None:
    runner = open_runner(base, "cpu", max_rows=64, weights="bfloat16")
    assert isinstance(runner, TorchRunner)
    np.testing.assert_allclose(
        read(runner, TEXTS, [0, 0, 0]), read(plain, TEXTS, [0, 0, 0]), atol=0.2, rtol=0
    )
