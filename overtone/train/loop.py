"""The training loop: gradients of any number of tunings in one pass over the base, then a step of each.

Knows no job, no queue and no database: everything is passed in, progress goes out by a callback. What a
tuning learns does not depend on its company: rows of a matrix product do not see one another, and every
tuning has its own gradients, optimiser and schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from overtone.model.decoder import Decoder, Project
from overtone.model.lora import Slot, project_with
from overtone.train.attention import attend_packed
from overtone.train.data import Document
from overtone.train.loss import output_loss
from overtone.train.packing import Pack, pack, split_documents
from overtone.train.tuning import Step, Tuning

ACTIVATION_BYTES = (
    1 << 30
)  # of one pass; larger batches take several, a larger document recomputes its layers


def step_jointly(decoder: Decoder, tunings: Sequence[Tuning]) -> list[Step]:
    """Take one optimiser step of each tuning and return what each reports.

    A loss that is not finite spoils its own tuning only; the caller looks and decides.
    """
    losses = add_gradients(decoder, tunings, [tuning.batch() for tuning in tunings])
    return [tuning.advance(loss) for tuning, loss in zip(tunings, losses, strict=True)]


def tune(decoder: Decoder, tuning: Tuning, on_step: Callable[[Step], None]) -> None:
    """Run one tuning to its end."""
    while not tuning.done:
        for step in step_jointly(decoder, [tuning]):
            on_step(step)


def add_gradients(
    decoder: Decoder, tunings: Sequence[Tuning], batches: Sequence[Sequence[Document]]
) -> list[float]:
    """Add each batch's gradients to its tuning's; return each batch's loss.

    A loss is the mean over all output tokens of its batch (as in transformers and TRL), so a long output
    counts for more than a short one, and a batch may be split into passes without changing its gradient.
    """
    num_outputs_S = torch.tensor([sum(document.num_output for document in batch) for batch in batches])
    losses_S = torch.zeros(len(batches))
    for slots in split_documents(batches, max_tokens(decoder)):
        packed = pack(slots)
        weight_N = (1.0 / num_outputs_S)[packed.slot_N]
        terms_N = _backward(decoder, tunings, packed.to(decoder.device), weight_N.to(decoder.device))
        losses_S.index_add_(0, packed.slot_N, terms_N.cpu())
    return losses_S.tolist()


def max_tokens(decoder: Decoder) -> int:
    """Return how many tokens' activations fit into one pass."""
    return max(64, ACTIVATION_BYTES // token_bytes(decoder))


def token_bytes(decoder: Decoder) -> int:
    """Estimate what a token's activations take between forward and backward, in all layers together."""
    config = decoder.config
    numbers = 4 * config.width + 3 * sum(config.qkv_sizes) + 4 * config.inner_size
    return config.num_layers * numbers * decoder.embed_VD.element_size()


def _backward(decoder: Decoder, tunings: Sequence[Tuning], packed: Pack, weight_N: Tensor) -> Tensor:
    """Run one pass forward and backward; return every output token's share of its batch's loss."""
    slots = [Slot(tunings[slot].lora, rows, packed.kept_rows[slot]) for slot, rows in packed.rows.items()]
    project = project_with(decoder, slots)
    hidden_ND = _forward(decoder, packed, project)
    total, terms_N = output_loss(decoder, hidden_ND, packed.targets_N, weight_N)
    total.backward()  # type: ignore[no-untyped-call]
    return terms_N


def _forward(decoder: Decoder, packed: Pack, project: Project) -> Tensor:
    attend = attend_packed(decoder.config, packed.spans)
    if len(packed.ids_T) <= max_tokens(decoder):
        return decoder.forward(packed.ids_T, packed.positions_T, attend, project, packed.keep_N)
    x_TD, tables = decoder.embed(packed.ids_T).requires_grad_(), decoder.tables(packed.positions_T)
    for index in range(decoder.config.num_layers):
        keep = packed.keep_N if index == decoder.config.num_layers - 1 else None
        x_TD = checkpoint(
            decoder.layer, index, x_TD, tables[index], attend, project, keep, use_reentrant=False
        )
    return decoder.norm(x_TD, decoder.final_norm_D)
