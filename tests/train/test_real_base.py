"""An epoch on the real base model, step by step beside transformers + peft."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers
from peft import PeftModel

from overtone.bases.chat import Chat
from overtone.cli.demo_stories import TUTORIAL
from overtone.model.adapter import save_adapter
from overtone.model.decoder import Decoder
from overtone.train.data import BatchOrder, Document, encode_examples
from overtone.train.loop import tune
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Recipe, Step, Tuning
from tests.real import base_folder
from tests.train.test_loop import plain_loss

# peft asks transformers 5 by a name that it has since replaced.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")]


def test_the_tutorials_first_epoch_has_the_losses_of_transformers_and_peft(tmp_path: Path) -> None:
    base, steps = base_folder(), list[Step]()
    decoder, documents = Decoder.load(base), encode_examples(Chat(base), TUTORIAL.dataset.examples)
    order = BatchOrder(len(documents), epoch_count=1, batch_size=2, seed=1)
    tuning = Tuning(decoder.config, documents, order, Recipe(0.001))
    save_adapter(tmp_path / "adapter", tuning.lora.to_adapter(), base.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    oracle = PeftModel.from_pretrained(model, tmp_path / "adapter", is_trainable=True)

    tune(TrainingBase(decoder), tuning, steps.append)

    batches = [[documents[number] for number in order.batch(step)] for step in range(order.total_steps)]
    theirs = plain_losses(oracle, batches, tuning.recipe)
    assert [step.mean_loss for step in steps] == pytest.approx(theirs, abs=1e-3)


def plain_losses(model: PeftModel, batches: Sequence[Sequence[Document]], recipe: Recipe) -> list[float]:
    """Tune as everybody would; return every step's loss."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        trained, recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    losses = []
    for batch in batches:
        loss = plain_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, recipe.max_grad_norm)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return losses
