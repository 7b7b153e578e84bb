"""The training loop: the gradients of any number of tunings in one pass over the base, then a step of each.

It knows no job, queue or database: everything is passed in, and a callback reports progress. What a tuning learns
does not depend on the others in the pass: the rows of a matrix product are independent, and every tuning has its
own gradients, optimiser and schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from overtone.model.decoder import Decoder, Project
from overtone.model.lora import JobRows, project_with
from overtone.train.attention import attend_packed
from overtone.train.data import Document
from overtone.train.loss import output_loss
from overtone.train.packing import Pack, pack
from overtone.train.training_base import TrainingBase
from overtone.train.tuning import Step, Tuning

ACTIVATION_BYTES = 3 << 29
"""Of one pass: larger batches take several, a larger document recomputes its layers."""


def tune(base: TrainingBase, tuning: Tuning, on_step: Callable[[Step], None]) -> None:
    """Run one tuning to its end."""
    while not tuning.done:
        for step in run_pass(base, [tuning], max_tokens(base.decoder)):
            if step is not None:
                on_step(step)


def run_pass(base: TrainingBase, tunings: Sequence[Tuning], num_tokens: int) -> list[Step | None]:
    """Run the tunings' next documents, about `num_tokens` in total, forward and backward in one pass.

    Tunings whose batch is complete take an optimiser step and return it; the others return None. A loss that is not
    finite affects only its own tuning; the caller checks it.
    """
    taken: list[list[Document]] = []
    for tuning in tunings:
        taken.append(tuning.take(num_tokens))
        num_tokens -= sum(len(document.ids) for document in taken[-1])
    for tuning, share in zip(tunings, add_gradients(base, tunings, taken), strict=True):
        tuning.add_loss(share)
    return [tuning.finish() for tuning in tunings]


def add_gradients(
    base: TrainingBase, tunings: Sequence[Tuning], taken: Sequence[Sequence[Document]]
) -> list[float]:
    """Add the gradients of the taken documents to each tuning. Return their shares of the batch's loss.

    A batch's loss is the mean over all its output tokens (as in transformers and TRL). So a long output counts more
    than a short one, and a batch may be split over several passes without changing its gradient.
    """
    packed = pack(list(enumerate(taken)))
    weight_N = torch.tensor([1.0 / tuning.num_trained for tuning in tunings])[packed.job_N]
    device = base.decoder.device
    terms_N = _backward(base, tunings, packed.to(device), weight_N.to(device))
    shares: list[float] = torch.zeros(len(tunings)).index_add_(0, packed.job_N, terms_N.cpu()).tolist()
    return shares


def max_tokens(decoder: Decoder) -> int:
    """Return the number of tokens whose activations fit into one pass."""
    return max(64, ACTIVATION_BYTES // token_bytes(decoder))


def token_bytes(decoder: Decoder) -> int:
    """Estimate the bytes of a token's activations between forward and backward, over all layers."""
    config = decoder.config
    numbers = 4 * config.width + 3 * sum(config.qkv_sizes) + 4 * config.inner_size
    return config.num_layers * numbers * decoder.embed_VD.element_size()


def _fits(decoder: Decoder, packed: Pack) -> bool:
    """Tell whether all layers' activations can be kept; they cannot if a document is larger than a pass."""
    return len(packed.ids_T) <= max_tokens(decoder)


def _backward(base: TrainingBase, tunings: Sequence[Tuning], packed: Pack, weight_N: Tensor) -> Tensor:
    """Run one pass forward and backward. Return every output token's share of its batch's loss."""
    jobs = [JobRows(tunings[job].lora, rows, packed.kept_rows[job]) for job, rows in packed.rows.items()]
    compiled = base.compiled_for(jobs) if _fits(base.decoder, packed) else None
    if compiled is not None:
        return compiled.run(packed, jobs, weight_N)
    decoder = base.decoder
    project = project_with(decoder, jobs)
    hidden_ND = _forward(decoder, packed, project)
    total, terms_N = output_loss(decoder, hidden_ND, packed.targets_N, weight_N)
    total.backward()  # type: ignore[no-untyped-call]
    return terms_N


def _forward(decoder: Decoder, packed: Pack, project: Project) -> Tensor:
    attend = attend_packed(decoder.config, packed.buckets)
    if _fits(decoder, packed):
        return decoder.forward(packed.ids_T, packed.positions_T, attend, project, packed.keep_N)
    x_TD = decoder.embed(packed.ids_T).requires_grad_()
    tables = decoder.tables(packed.positions_T)
    for index in range(decoder.config.num_layers):
        keep = packed.keep_N if index == decoder.config.num_layers - 1 else None
        x_TD = checkpoint(
            decoder.layer, index, x_TD, tables[index], attend, project, keep, use_reentrant=False
        )
    return decoder.norm(x_TD, decoder.final_norm_D)
