"""Held-out losses: those of transformers, the same in both passes, and nothing changes by measuring them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from overtone.model.decoder import Decoder
from overtone.train import evaluate, loop
from overtone.train.data import Document
from overtone.train.training_base import TrainingBase
from tests.model.test_decoder import FAMILIES, make_oracle
from tests.train.test_compiled_pass import SIZES, count_compiled_runs, make_training_base, make_tuning
from tests.train.test_loop import plain_loss
from tests.train.texts import documents


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_the_losses_are_those_of_transformers(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, extra = FAMILIES[family]
    oracle = make_oracle(kind, extra | (SIZES if family == "llama" else {"vocab_size": 80}))
    oracle.save_pretrained(tmp_path)
    base = TrainingBase(Decoder.load(tmp_path))
    runs = count_compiled_runs(monkeypatch)
    tuning = make_tuning(base, documents())
    tuning.reset()  # B is zero: the bare base

    losses = evaluate.document_losses(base, tuning.lora, documents())

    assert losses == pytest.approx([plain_loss(oracle, [each]).item() for each in documents()], rel=1e-5)
    assert bool(runs) == (family == "llama")
    whole = evaluate.mean_loss(base, tuning.lora, documents())
    assert whole == pytest.approx(plain_loss(oracle, documents()).item(), rel=1e-5)


def test_a_forward_pass_changes_neither_weights_nor_gradients(tmp_path: Path) -> None:
    base = make_training_base(tmp_path)
    tuning = make_tuning(base, documents())
    tuning.lora.grad.fill_(0.5)
    before = tuning.lora.flat.detach().clone()

    evaluate.mean_loss(base, tuning.lora, documents())

    assert torch.equal(tuning.lora.flat.detach(), before)
    assert torch.equal(tuning.lora.grad, torch.full_like(before, 0.5))


def test_what_does_not_fit_into_one_pass_takes_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_training_base(tmp_path)
    tuning = make_tuning(base, documents())
    at_once = evaluate.document_losses(base, tuning.lora, documents())
    monkeypatch.setattr(evaluate, "max_tokens", lambda decoder: 20)
    assert evaluate.document_losses(base, tuning.lora, documents()) == pytest.approx(at_once, rel=1e-6)


def test_a_training_step_reports_the_loss_that_evaluation_gives(tmp_path: Path) -> None:
    base = make_training_base(tmp_path)
    tuning = make_tuning(base, documents())
    expected = evaluate.mean_loss(base, tuning.lora, [tuning.documents[n] for n in tuning.order.batch(0)])
    (loss,) = loop.add_gradients(base, [tuning], [tuning.take(10_000)])
    assert loss == pytest.approx(expected, rel=1e-6)


def test_a_span_counts_its_own_tokens_only(tmp_path: Path) -> None:
    base = make_training_base(tmp_path)
    tuning = make_tuning(base, documents())
    ids = documents()[3].ids
    both = Document(ids, ((8, 12), (15, 18)))
    first, second = Document(ids, ((8, 12),)), Document(ids, ((15, 18),))
    parts = evaluate.document_losses(base, tuning.lora, [first, second])
    assert evaluate.mean_loss(base, tuning.lora, [both]) == pytest.approx(
        (4 * parts[0] + 3 * parts[1]) / 7, rel=1e-5
    )
