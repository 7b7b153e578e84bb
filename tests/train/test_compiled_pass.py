"""The compiled pass against the plain one, which is held against transformers and peft, and against itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch

from overtone.model.decoder import Decoder
from overtone.model.lora import JobRows
from overtone.processor import has_avx2
from overtone.train import compiled_pass, loop
from overtone.train.compiled_pass import CompiledPass
from overtone.train.data import BatchOrder, Document
from overtone.train.loop import run_pass
from overtone.train.packing import Pack, pack
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Recipe, Tuning
from tests import tiny
from tests.model.test_decoder import FAMILIES, make_oracle
from tests.model.test_lora import with_peft
from tests.model.tiny import random_adapter
from tests.tiny import QuantType
from tests.train.test_loop import assert_gradients_are_those_of_peft, plain_loss
from tests.train.texts import documents

# peft asks transformers 5 by a name that it has since replaced.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")

SIZES: dict[str, Any] = {  # whole panels, no two the same; biases where the family has them
    "vocab_size": 80,
    "hidden_size": 48,
    "intermediate_size": 112,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_hidden_layers": 3,
}
KNOWN = ["llama", "llama with biases", "llama 3 rope", "qwen2"]


def make_training_base(folder: Path, family: str = "llama with biases") -> TrainingBase:
    kind, extra = FAMILIES[family]
    oracle = make_oracle(kind, {key: value for key, value in extra.items() if "window" not in key} | SIZES)
    oracle.save_pretrained(folder)
    return TrainingBase(Decoder.load(folder))


def make_tuning(
    base: TrainingBase, data: Sequence[Document], rank: int = 16, batch_size: int = 0, seed: int = 3
) -> Tuning:
    order = BatchOrder(len(data), 3, batch_size or len(data), seed)
    tuning = Tuning(base.decoder.config, data, order, Recipe(0.01, rank, alpha=8.0))
    generator = torch.Generator().manual_seed(seed)
    tuning.lora.flat.data.add_(torch.randn(tuning.lora.flat.shape, generator=generator) * 0.1)
    return tuning


def gradients(
    base: TrainingBase,
    tunings: Sequence[Tuning],
    compiled: bool,
    monkeypatch: pytest.MonkeyPatch,
    keep: bool = False,
) -> tuple[list[float], list[torch.Tensor]]:
    """Return the losses and gradients of the tunings' next batches, in one pass, and forget the batches."""
    runs = count_compiled_runs(monkeypatch)
    if not compiled:
        monkeypatch.setattr(compiled_pass, "can_run", lambda *arguments: False)
    taken = [tuning.take(10_000) for tuning in tunings]
    losses = loop.add_gradients(base, tunings, taken)
    monkeypatch.undo()
    assert len(runs) == compiled
    found = [tuning.lora.grad.clone() for tuning in tunings]
    if not keep:
        for tuning in tunings:
            tuning.drop_batch()
    return losses, found


@pytest.mark.parametrize("family", KNOWN)
def test_losses_and_gradients_are_those_of_the_plain_pass(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_training_base(tmp_path, family)
    data = documents()
    tunings = [
        make_tuning(base, data, rank=16),  # a shared beginning
        make_tuning(base, data[:1], rank=32),  # one text alone
        make_tuning(base, [data[3], data[1]], rank=16),
    ]

    plain_losses, plain = gradients(base, tunings, False, monkeypatch)
    losses, compiled = gradients(base, tunings, True, monkeypatch)

    assert losses == pytest.approx(plain_losses, rel=1e-5)
    for ours, theirs in zip(compiled, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


def test_the_loss_is_that_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = make_oracle("Llama", SIZES)
    oracle.save_pretrained(tmp_path)
    base = TrainingBase(Decoder.load(tmp_path))
    tuning = make_tuning(base, documents())
    tuning.reset()  # B is zero: the bare base

    (loss,), _ = gradients(base, [tuning], True, monkeypatch)

    assert loss == pytest.approx(plain_loss(oracle, documents()).item(), rel=1e-5)


LONG = torch.randint(3, 80, (300,), generator=torch.Generator().manual_seed(5)).tolist()
BORDERS = {  # of a panel's depth, a chunk of logits, a strip of queries
    "many outputs": [Document.of_pair(LONG, 10), Document.of_pair(LONG[:40], 35)],
    "a long beginning": [
        Document.of_pair(LONG[:200], 170),
        Document.of_pair((*LONG[:90], 7, 8, 9), 91),
        Document.of_pair((*LONG[:250], 4, 5), 80),
    ],
    "one text": [Document.of_pair(LONG, 145)],
}


CONVERSATIONS = {  # answers with what is not trained between them, within a strip of queries and across several
    "two answers": [
        Document(tuple(LONG[:40]), ((9, 14), (20, 31))),
        Document(tuple(LONG[:50]), ((9, 10), (12, 50))),
    ],
    "many answers": [Document(tuple(LONG), tuple((n, n + 3) for n in range(10, 290, 7)))],
    "a long gap": [Document(tuple(LONG), ((5, 20), (150, 230), (280, 290)))],
    "beside a pair": [Document.of_pair(LONG[:90], 40), Document(tuple(LONG[:200]), ((50, 60), (190, 200)))],
}


@pytest.mark.parametrize("data", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_a_text_may_have_several_trained_spans(
    data: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_training_base(tmp_path)
    tunings = [make_tuning(base, documents()), make_tuning(base, data)]

    plain_losses, plain = gradients(base, tunings, False, monkeypatch)
    losses, compiled = gradients(base, tunings, True, monkeypatch)

    assert losses == pytest.approx(plain_losses, rel=1e-5)
    for ours, theirs in zip(compiled, plain, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 2e-5


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])
@pytest.mark.parametrize("data", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_losses_and_gradients_of_several_spans_are_those_of_transformers_and_peft(
    data: list[Document], compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_oracle("Llama", SIZES)
    model.save_pretrained(tmp_path)
    base = TrainingBase(Decoder.load(tmp_path))
    adapter = random_adapter(base.decoder, rank=16, alpha=8.0, seed=1)
    oracle, tuning = with_peft(model, adapter), make_tuning(base, data)
    tuning.lora.copy_from(adapter)

    (our_loss,), _ = gradients(base, [tuning], compiled, monkeypatch, keep=True)
    their_loss = plain_loss(oracle, data)
    their_loss.backward()

    assert our_loss == pytest.approx(their_loss.item(), rel=1e-5)
    assert_gradients_are_those_of_peft(tuning, oracle)


def keep_rows_of_the_first_job(packed: Pack) -> Pack:
    return replace(packed, keep_N=torch.arange(len(packed.keep_N)))


def see_a_text_of_the_first_job(packed: Pack) -> Pack:
    texts = [replace(text, shared=range(4)) for text in packed.texts[1]]
    return replace(packed, texts={**packed.texts, 1: texts})


BROKEN: dict[str, tuple[str, Callable[[Pack], Pack]]] = {
    "kept rows out of order": ("do not ascend", lambda packed: replace(packed, keep_N=packed.keep_N.flip(0))),
    "a row kept twice": ("do not ascend", lambda packed: replace(packed, keep_N=packed.keep_N // 2)),
    "rows of other jobs": (
        "other jobs",
        lambda packed: replace(packed, rows={0: slice(0, 9), 1: slice(9, 70)}),
    ),
    "kept rows of another job": ("rows of another", keep_rows_of_the_first_job),
    "a text of another job": ("not the first", see_a_text_of_the_first_job),
    "a token that is none": (
        "no such token",
        lambda packed: replace(packed, targets_N=packed.targets_N + 80),
    ),
}


@pytest.mark.parametrize(("problem", "break_it"), BROKEN.values(), ids=BROKEN)
def test_what_the_kernels_cannot_take_is_noticed_before_they_run(
    problem: str, break_it: Callable[[Pack], Pack], tmp_path: Path
) -> None:
    base = make_training_base(tmp_path)
    tunings = [make_tuning(base, documents()), make_tuning(base, documents()[:1])]
    packed = pack([(0, documents()), (1, documents()[:1])])
    jobs = [JobRows(tunings[job].lora, rows, packed.kept_rows[job]) for job, rows in packed.rows.items()]
    compiled = base.compiled_for(jobs)
    assert compiled is not None
    compiled.run(packed, jobs, torch.ones(len(packed.keep_N)))
    with pytest.raises(AssertionError, match=problem):
        compiled.run(break_it(packed), jobs, torch.ones(len(packed.keep_N)))


def test_a_rank_that_is_no_multiple_of_a_panel_is_noticed_before_the_kernels_run(tmp_path: Path) -> None:
    base = make_training_base(tmp_path)
    compiled = base.compiled_for([])
    assert compiled is not None
    tuning, packed = make_tuning(base, documents(), rank=8), pack([(0, documents())])
    jobs = [JobRows(tuning.lora, packed.rows[0], packed.kept_rows[0])]
    with pytest.raises(AssertionError, match="rank 8"):
        compiled.run(packed, jobs, torch.ones(len(packed.keep_N)))


@pytest.mark.parametrize("data", BORDERS.values(), ids=BORDERS)
def test_long_texts_cross_every_border(
    data: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_training_base(tmp_path)
    tunings = [make_tuning(base, documents()), make_tuning(base, data)]

    plain_losses, plain = gradients(base, tunings, False, monkeypatch)
    losses, compiled = gradients(base, tunings, True, monkeypatch)

    assert losses == pytest.approx(plain_losses, rel=1e-5)
    for ours, theirs in zip(compiled, plain, strict=True):
        assert float((ours - theirs).norm() / theirs.norm()) < 2e-5


def test_a_job_has_the_same_bits_in_company_and_with_other_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_training_base(tmp_path)
    mine = make_tuning(base, documents(), seed=1)
    others = [
        make_tuning(base, documents()[2:], 32, seed=2),
        make_tuning(base, documents()[:3], seed=4),
    ]
    losses, alone = gradients(base, [mine], True, monkeypatch)

    joint_losses, together = gradients(base, [others[0], mine, others[1]], True, monkeypatch)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    other_losses, threaded = gradients(TrainingBase(Decoder.load(tmp_path)), [mine], True, monkeypatch)
    torch.set_num_threads(threads)

    assert joint_losses[1] == losses[0] == other_losses[0]
    assert torch.equal(together[1], alone[0])
    assert torch.equal(threaded[0], alone[0])


BLOCKS = {
    "4 bits": tiny.DEFAULT_KINDS,
    "8 bits": tiny.Kinds(layers=QuantType.Q8_0),
    "4 bits, a head of 4 bits": tiny.Kinds(QuantType.Q4_0, QuantType.Q4_0),
    "of several kinds": tiny.Kinds(others={"blk.1.ffn_up.weight": QuantType.Q8_0}),
    "not all known": tiny.Kinds(others={"blk.0.attn_k.weight": QuantType.Q5_0}),
}


@pytest.mark.parametrize("kinds", BLOCKS.values(), ids=BLOCKS)
def test_blocks_train_the_same_bits_as_the_floats_they_stand_for(
    kinds: tiny.Kinds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.make_base(tmp_path, width=64, kinds=kinds)
    data = [Document.of_pair(LONG, 120), *documents()]
    with_blocks = TrainingBase(Decoder.load(folder))
    losses, found = gradients(with_blocks, [make_tuning(with_blocks, data)], True, monkeypatch)
    (folder / "blocks.safetensors").unlink()
    without = TrainingBase(Decoder.load(folder))

    float_losses, expected = gradients(without, [make_tuning(without, data)], True, monkeypatch)

    assert losses == float_losses
    assert torch.equal(found[0], expected[0])


WITH_INTEGERS = ["4 bits", "8 bits", "4 bits, a head of 4 bits"]  # the last: its head stays in floats
needs_integers = pytest.mark.skipif(not has_avx2(), reason="this processor multiplies floats")


@needs_integers
@pytest.mark.parametrize("kinds", [BLOCKS[name] for name in WITH_INTEGERS], ids=WITH_INTEGERS)
def test_integers_move_losses_and_gradients_by_less_than_a_thousandth(
    kinds: tiny.Kinds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.make_base(tmp_path, width=64, kinds=kinds)
    decoder = Decoder.load(folder)
    exact = TrainingBase(decoder)
    rounded = TrainingBase(decoder, in_integers=True)
    for data in ([Document.of_pair(LONG, 120), *documents()], documents()[:1], BORDERS["many outputs"]):
        losses, expected = gradients(exact, [make_tuning(exact, data)], True, monkeypatch)
        rounded_losses, found = gradients(rounded, [make_tuning(rounded, data)], True, monkeypatch)

        assert rounded_losses == pytest.approx(losses, rel=1e-4)
        distance = float((found[0] - expected[0]).norm() / expected[0].norm())
        assert 1e-6 < distance < 1e-3  # not the floats' way


@needs_integers
def test_integers_have_the_same_bits_in_company_and_with_other_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny.make_base(tmp_path, width=64)
    base = TrainingBase(Decoder.load(folder), in_integers=True)
    mine, other = make_tuning(base, documents(), seed=1), make_tuning(base, documents()[2:], 32, seed=2)
    losses, alone = gradients(base, [mine], True, monkeypatch)

    joint_losses, together = gradients(base, [other, mine], True, monkeypatch)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    again = TrainingBase(Decoder.load(folder), in_integers=True)
    other_losses, threaded = gradients(again, [mine], True, monkeypatch)
    torch.set_num_threads(threads)

    assert joint_losses[1] == losses[0] == other_losses[0]
    assert torch.equal(together[1], alone[0])
    assert torch.equal(threaded[0], alone[0])


@needs_integers
def test_integers_do_not_hide_what_is_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = TrainingBase(Decoder.load(tiny.make_base(tmp_path, width=64)), in_integers=True)
    for bad in (float("nan"), float("inf")):
        tuning = make_tuning(base, documents())
        tuning.lora.flat.data[-1] = bad  # of the last layer's last projection
        (loss,), _ = gradients(base, [tuning], True, monkeypatch)
        assert not isfinite(loss)


def count_compiled_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each run of the compiled pass."""
    runs: list[int] = []
    run = CompiledPass.run

    def counted(*arguments: Any, **options: Any) -> torch.Tensor:
        runs.append(1)
        return run(*arguments, **options)

    monkeypatch.setattr(CompiledPass, "run", counted)
    return runs


def test_a_family_that_the_kernels_do_not_know_takes_the_plain_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_training_base(tmp_path, "qwen3")
    runs = count_compiled_runs(monkeypatch)
    (step,) = run_pass(base, [make_tuning(base, documents())], 10_000)
    assert step is not None
    assert step.is_finite
    assert not runs


def test_a_rank_of_no_whole_panels_takes_the_plain_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_training_base(tmp_path)
    runs = count_compiled_runs(monkeypatch)
    for rank, num_runs in ((5, 0), (16, 1)):
        (step,) = run_pass(base, [make_tuning(base, documents(), rank)], 10_000)
        assert step is not None
        assert step.is_finite
        assert len(runs) == num_runs


def test_training_learns_the_examples(tmp_path: Path) -> None:
    base = make_training_base(tmp_path)
    tuning = make_tuning(base, documents(), batch_size=2)
    losses = [step.mean_loss for _ in range(8) for step in run_pass(base, [tuning], 10_000) if step]
    assert losses[-1] < losses[0]
