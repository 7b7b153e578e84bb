"""Losses and gradients of packed, joint training against transformers + peft, one example at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import PeftModel
from torch import Tensor

from overtone.model.decoder import Decoder
from overtone.train import attention, loop, loss
from overtone.train.data import BatchOrder, Document
from overtone.train.loop import run_pass, tune
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Recipe, Step, Tuning
from tests.model.test_decoder import FAMILIES, make_oracle
from tests.model.test_lora import grads_by_place, make_peft, place_of
from tests.model.tiny import make_base, random_adapter
from tests.train.texts import documents

# peft asks transformers 5 by a name that it has since replaced.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


@pytest.fixture
def base(tmp_path: Path) -> TrainingBase:
    make_base(tmp_path)
    return TrainingBase(Decoder.load(tmp_path))


def make_tuning(
    base: TrainingBase,
    seed: int = 3,
    rank: int = 4,
    rate: float = 0.01,
    batch_size: int = 2,
    data: Sequence[Document] = (),
) -> Tuning:
    data = data or documents()
    return Tuning(
        base.decoder.config, data, BatchOrder(len(data), 3, batch_size, seed), Recipe(rate, rank, alpha=8.0)
    )


def test_loss_and_gradients_are_those_of_transformers_and_peft(base: TrainingBase, tmp_path: Path) -> None:
    adapter = random_adapter(base.decoder, rank=4, alpha=8.0, seed=1)
    oracle, tuning = make_peft(tmp_path, adapter), make_tuning(base, batch_size=5)
    tuning.lora.copy_from(adapter)

    our_loss = add_whole_batch(base, tuning)
    their_loss = plain_loss(oracle, documents())
    their_loss.backward()

    assert our_loss == pytest.approx(their_loss.item(), rel=1e-5)
    assert_gradients_are_those_of_peft(tuning, oracle)


def assert_gradients_are_those_of_peft(tuning: Tuning, oracle: PeftModel) -> None:
    ours = grads_by_place(tuning.lora)
    for name, parameter in oracle.named_parameters():
        if parameter.requires_grad:
            place, side = place_of(name)
            ours_side = (ours.a if side == "lora_A" else ours.b)[place]
            np.testing.assert_allclose(ours_side, parameter.grad.numpy(), atol=1e-5, rtol=1e-5)


def add_whole_batch(base: TrainingBase, tuning: Tuning) -> float:
    """Add the gradients of a batch, in as many passes as it takes, without the optimiser's step."""
    loss, num_left = 0.0, tuning.order.batch_size
    while num_left:
        taken = tuning.take(loop.max_tokens(base.decoder))
        (share,) = loop.add_gradients(base, [tuning], [taken])
        loss, num_left = loss + share, num_left - len(taken)
    return loss


def plain_loss(model: torch.nn.Module, batch: Sequence[Document]) -> Tensor:
    """Return the mean over the batch's output tokens, each document run by itself."""
    terms = []
    for document in batch:
        logits_TV = model(torch.tensor(document.ids)[None]).logits[0]
        for start, end in document.spans:
            targets = torch.tensor(document.ids[start:end])
            terms.append(F.cross_entropy(logits_TV[start - 1 : end - 1], targets, reduction="none"))
    return torch.cat(terms).mean()


@pytest.mark.parametrize("dense_rows", [0, 160])
@pytest.mark.parametrize("family", ["gemma2", "gemma3", "mistral", "olmo2", "phi3"])
def test_packing_is_exact_for_windows_and_caps_too(
    family: str, dense_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "DENSE_ROWS", dense_rows)
    oracle = make_oracle(*FAMILIES[family])
    oracle.save_pretrained(tmp_path)
    base = TrainingBase(Decoder.load(tmp_path))
    data = [Document(tuple(token % 57 + 3 for token in d.ids), d.spans) for d in documents()]

    our_loss = add_whole_batch(base, make_tuning(base, batch_size=len(data), data=data))

    assert our_loss == pytest.approx(plain_loss(oracle, data).item(), rel=1e-5)


def test_a_job_in_company_has_the_losses_it_has_alone(base: TrainingBase) -> None:
    def make_jobs() -> list[Tuning]:
        return [
            make_tuning(base, seed=1, rank=4, rate=0.01, batch_size=2),
            make_tuning(base, seed=2, rank=2, rate=0.05, batch_size=4, data=documents()[:3]),
            make_tuning(base, seed=3, rank=7, rate=0.002, batch_size=1),
        ]

    alone: list[list[float]] = []
    for tuning in make_jobs():
        alone.append([])
        tune(base, tuning, lambda step: alone[-1].append(step.mean_loss))

    together = losses_in_company(base, make_jobs())

    assert [len(losses) for losses in together] == [8, 3, 15]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def losses_in_company(base: TrainingBase, jobs: Sequence[Tuning]) -> list[list[float]]:
    """Run all jobs that are not done jointly, in passes too small for all; the last joins two passes late."""
    losses: list[list[float]] = [[] for _ in jobs]
    num_passes = 0
    while not all(job.done for job in jobs):
        present = [i for i, job in enumerate(jobs) if not job.done and (i < len(jobs) - 1 or num_passes >= 2)]
        num_passes += 1
        for i, step in zip(present, run_pass(base, [jobs[i] for i in present], 70), strict=True):
            losses[i] += [step.mean_loss] if step else []
    return losses


def test_small_passes_recomputation_and_chunks_change_nothing(
    base: TrainingBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, split = make_tuning(base, batch_size=5), make_tuning(base, batch_size=5)
    loss_whole = add_whole_batch(base, whole)

    monkeypatch.setattr(loop, "max_tokens", lambda decoder: 12)
    monkeypatch.setattr(attention, "MAX_QUERIES", 4)
    monkeypatch.setattr(attention, "DENSE_ROWS", 0)
    monkeypatch.setattr(loss, "CHUNK_LOGITS", 3 * base.decoder.config.vocab_size)
    loss_split = add_whole_batch(base, split)

    assert loss_split == pytest.approx(loss_whole, rel=1e-5)
    torch.testing.assert_close(split.lora.grad, whole.lora.grad, atol=1e-6, rtol=1e-4)


def test_training_repeats_itself_bit_for_bit(base: TrainingBase) -> None:
    first, second = make_tuning(base), make_tuning(base)
    tune(base, first, lambda step: None)
    tune(base, second, lambda step: None)
    assert torch.equal(first.lora.flat, second.lora.flat)


def test_training_learns_the_examples(base: TrainingBase) -> None:
    steps: list[Step] = []
    order = BatchOrder(5, 40, 5, seed=1)
    tune(base, Tuning(base.decoder.config, documents(), order, Recipe(0.01, 8)), steps.append)
    assert [step.number for step in steps] == list(range(1, 41))
    assert steps[-1].mean_loss < steps[0].mean_loss / 5


def test_a_loss_that_is_not_a_number_stays_in_its_own_job(base: TrainingBase) -> None:
    sound, alone, broken = make_tuning(base), make_tuning(base), make_tuning(base)
    broken.lora.flat.fill_(torch.inf)

    spoilt, step = run_pass(base, [broken, sound], 1000)
    (expected,) = run_pass(base, [alone], 1000)

    assert spoilt is not None and not spoilt.is_finite
    assert step is not None and expected is not None
    assert step.mean_loss == pytest.approx(expected.mean_loss, rel=1e-5)
    torch.testing.assert_close(sound.lora.flat, alone.lora.flat)


def test_the_rate_warms_up_and_falls() -> None:
    recipe = Recipe(1.0, warmup_steps=1, decay=0.5)
    assert [recipe.rate(step, 5) for step in range(5)] == [0.5, 0.875, 0.75, 0.625, 0.5]
    assert Recipe(0.2).rate(9, 10) == 0.2


def test_a_batch_is_taken_in_parts_that_fit(base: TrainingBase) -> None:
    tuning = make_tuning(base, batch_size=5)
    sizes = []
    while sum(sizes) < 5:
        taken = tuning.take(max_tokens=40)
        sizes.append(len(taken))
        assert sum(len(document.ids) for document in taken) <= 40
    assert len(sizes) > 1
    assert len(make_tuning(base).take(max_tokens=1)) == 1
