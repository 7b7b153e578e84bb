"""One adapter in training: its data, matrices, optimiser and progress. It does not know the other tunings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import torch
from torch import Tensor

from overtone.model.adapter import Adapter
from overtone.model.decoder_config import DecoderConfig
from overtone.model.lora import LoraWeights
from overtone.train.data import BatchOrder, Document
from overtone.train.optimiser import Adam, Optimiser


@dataclass(frozen=True)
class Recipe:
    """How an adapter learns. docs/log.md says how the defaults were chosen."""

    learning_rate: float
    rank: int = 16
    alpha: float = 32.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0  # gradients with a larger norm are scaled down to it
    warmup_steps: int = 0
    decay: float = 0.0  # the rate falls linearly by this share until the last step

    def rate(self, step: int, total_steps: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warmup = min(1.0, (step + 1) / (self.warmup_steps + 1))
        return self.learning_rate * warmup * (1.0 - self.decay * step / max(1, total_steps - 1))


@dataclass(frozen=True)
class Step:
    """What one optimiser step reports."""

    number: int  # counted from 1
    epoch: int  # epochs that are complete after this step
    mean_loss: float  # over the batch's output tokens, before the step
    grad_norm: float  # before clipping
    computed_at: datetime

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.mean_loss) and math.isfinite(self.grad_norm)


@dataclass
class Progress:
    """The content of a checkpoint: enough to continue to bit-identical weights."""

    step: int
    rate_factor: float  # 0.5 after the loss ran away
    parameters: Tensor
    first_moment: Tensor
    second_moment: Tensor

    @property
    def num_bytes(self) -> int:
        return 3 * self.parameters.numel() * self.parameters.element_size()


class Tuning:
    """An adapter, its examples and its optimiser, all in float32."""

    def __init__(
        self,
        config: DecoderConfig,
        documents: Sequence[Document],
        order: BatchOrder,
        recipe: Recipe,
        source: Adapter | None = None,
        device: torch.device | str = "cpu",
    ):
        """Start from a source adapter of the recipe's rank, or from a new one made from the order's seed."""
        self._config = config
        self._source = source
        self.documents = documents
        self.order = order
        self.recipe = recipe
        self.lora = LoraWeights(config, recipe.rank, recipe.alpha, device)
        adam = Adam(*recipe.betas, weight_decay=recipe.weight_decay, max_grad_norm=recipe.max_grad_norm)
        self._optimiser = Optimiser(self.lora.flat, self.lora.grad, adam)
        self._totals = [document.num_trained for document in documents]
        self.tokens_taken = 0  # by this object, including repetitions
        self._num_trained = 0  # in the batch; counted once per batch
        self.reset()

    @property
    def done(self) -> bool:
        return self.step >= self.order.total_steps

    @property
    def num_trained(self) -> int:
        """Return how many tokens of the batch the loss covers."""
        if not self._num_trained:
            self._num_trained = self._count_trained(self.order.places(self.step))
        return self._num_trained

    def _count_trained(self, places: range) -> int:
        """Count whole epochs at once, because a batch may contain millions of them."""
        size = self.order.num_examples
        total = 0
        first, last = -(-places.start // size), places.stop // size
        if first < last:
            total = (last - first) * sum(self._totals)
            edges = [*range(places.start, first * size), *range(last * size, places.stop)]
        else:
            edges = [*places]
        return total + sum(self._totals[self.order.example_at(place)] for place in edges)

    @property
    def num_taken(self) -> int:
        """Return how many documents of the batch have been taken."""
        return self._num_taken

    def next_tokens(self) -> int:
        """Return how many tokens the next document has."""
        return len(self._next_document.ids)

    def take(self, max_tokens: int) -> list[Document]:
        """Take the batch's next documents, as many as fit and at least one.

        The caller adds their gradients and their share of the loss before it calls `finish`.
        """
        taken: list[Document] = []
        while not taken or (not self._all_taken and self.next_tokens() <= max_tokens):
            max_tokens -= self.next_tokens()
            taken.append(self._next_document)
            self._num_taken += 1
        self.tokens_taken += sum(len(document.ids) for document in taken)
        return taken

    @property
    def _next_document(self) -> Document:
        places = self.order.places(self.step)
        return self.documents[self.order.example_at(places[self._num_taken])]

    def add_loss(self, share: float) -> None:
        """Add some documents' share of the batch's mean loss."""
        self._loss += share

    def finish(self) -> Step | None:
        """Update the weights with the accumulated gradients, once the whole batch has been taken."""
        if not self._all_taken:
            return None
        number = self.step + 1
        norm = self._optimiser.step(self.rate, number)
        finished = Step(number, self.order.epochs_complete(number), self._loss, norm, datetime.now(UTC))
        self.step += 1
        self._forget_batch()
        return finished

    @property
    def rate(self) -> float:
        return self.recipe.rate(self.step, self.order.total_steps) * self.rate_factor

    def drop_batch(self) -> None:
        """Discard the current batch and its gradients."""
        self._forget_batch()
        self.lora.grad.zero_()

    def _forget_batch(self) -> None:
        self._num_taken = 0
        self._loss = 0.0
        self._num_trained = 0

    def beginning(self) -> LoraWeights:
        """Return a new adapter with this one's weights before the first step."""
        lora = LoraWeights(self._config, self.recipe.rank, self.recipe.alpha, self.lora.flat.device)
        self._begin(lora)
        return lora

    def _begin(self, lora: LoraWeights) -> None:
        lora.randomise(self.order.seed)
        if self._source is not None:
            lora.copy_from(self._source)

    def reset(self) -> None:
        """Return to the initial state."""
        self._begin(self.lora)
        self._optimiser.first.zero_()
        self._optimiser.second.zero_()
        self.step, self.rate_factor = 0, 1.0
        self.drop_batch()

    def save(self) -> Progress:
        """Return a copy of everything that has changed since the start."""
        changed = self.lora.flat, self._optimiser.first, self._optimiser.second
        copies = (tensor.to("cpu", copy=True) for tensor in changed)
        return Progress(self.step, self.rate_factor, *copies)

    def restore(self, progress: Progress) -> None:
        """Restore the state at which `save` was called."""
        self.lora.flat.copy_(progress.parameters)
        self._optimiser.first.copy_(progress.first_moment)
        self._optimiser.second.copy_(progress.second_moment)
        self.step, self.rate_factor = progress.step, progress.rate_factor
        self.drop_batch()

    @property
    def _all_taken(self) -> bool:
        return self._num_taken == len(self.order.places(self.step))
