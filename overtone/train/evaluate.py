"""Evaluates an adapter on texts, with forward passes that compute the same losses as training.

It uses the same pass as training: the compiled one if the kernels support the base, else the plain one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from overtone.model.decoder import Attend, Decoder
from overtone.model.lora import JobRows, LoraWeights, project_with
from overtone.train.attention import attend_packed
from overtone.train.data import Document
from overtone.train.loop import max_tokens
from overtone.train.loss import token_losses
from overtone.train.packing import Pack, pack
from overtone.train.training_base import TrainingBase


def document_losses(base: TrainingBase, lora: LoraWeights, documents: Sequence[Document]) -> list[float]:
    """Return each document's mean loss over its trained tokens, in nats, through an adapter."""
    means: list[float] = []
    for batch in _batches(documents, max_tokens(base.decoder)):
        terms_N = _run(base, lora, pack([(0, batch)]))
        parts = torch.split(terms_N, [document.num_trained for document in batch])
        means += [float(part.double().mean()) for part in parts]
    return means


def mean_loss(base: TrainingBase, lora: LoraWeights, documents: Sequence[Document]) -> float:
    """Return the mean loss over all trained tokens together, as a training step reports it."""
    counts = [document.num_trained for document in documents]
    losses = document_losses(base, lora, documents)
    return sum(loss * count for loss, count in zip(losses, counts, strict=True)) / sum(counts)


@torch.no_grad()
def largest_key_or_value(decoder: Decoder, lora: LoraWeights, documents: Sequence[Document]) -> float:
    """Return the largest magnitude of any key or value of these texts in any layer; NaN if one is NaN."""
    magnitudes: list[Tensor] = []
    for batch in _batches(documents, max_tokens(decoder)):
        packed = pack([(0, batch)]).to(decoder.device)
        attend = _measured(attend_packed(decoder.config, packed.buckets), magnitudes)
        project = project_with(decoder, [JobRows(lora, packed.rows[0], packed.kept_rows[0])])
        decoder.forward(packed.ids_T, packed.positions_T, attend, project, packed.keep_N)
    return float(torch.stack(magnitudes).max())


def _measured(attend: Attend, magnitudes: list[Tensor]) -> Attend:
    """Return an `attend` that records the largest magnitude among its keys and values."""

    def measuring(layer: int, q_THK: Tensor, k_TGK: Tensor, v_TGK: Tensor) -> Tensor:
        magnitudes.append(torch.maximum(k_TGK.abs().max(), v_TGK.abs().max()))
        return attend(layer, q_THK, k_TGK, v_TGK)

    return measuring


def _batches(documents: Sequence[Document], num_tokens: int) -> Iterator[list[Document]]:
    """Yield runs of consecutive documents, as many as fit into a pass and at least one."""
    batch: list[Document] = []
    room = num_tokens
    for document in documents:
        if batch and len(document.ids) > room:
            yield batch
            batch = []
            room = num_tokens
        batch.append(document)
        room -= len(document.ids)
    if batch:
        yield batch


@torch.no_grad()
def _run(base: TrainingBase, lora: LoraWeights, packed: Pack) -> Tensor:
    """Return the loss of every trained token."""
    jobs = [JobRows(lora, packed.rows[0], packed.kept_rows[0])]
    decoder = base.decoder
    compiled = base.compiled_for(jobs) if len(packed.ids_T) <= max_tokens(decoder) else None
    if compiled is not None:
        return compiled.run(packed, jobs, torch.ones(len(packed.keep_N)), backward=False)
    packed = packed.to(decoder.device)
    attend = attend_packed(decoder.config, packed.buckets)
    project = project_with(decoder, jobs)
    hidden_ND = decoder.forward(packed.ids_T, packed.positions_T, attend, project, packed.keep_N)
    return token_losses(decoder, hidden_ND, packed.targets_N).cpu()
