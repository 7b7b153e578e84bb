"""Packs many documents into one flat row of tokens, without padding; documents do not see each other.

The common prefix of a job's documents (mostly the template's system message) is in the row once, before them. Each
document attends to it and to itself. Causal attention makes this exact, because the shared tokens never see what
follows them. A job's tokens are contiguous, so that its adapter applies to a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from overtone.train.attention import Bucket, Text, bucket_texts
from overtone.train.data import Document

MIN_PREFIX = 4  # a shorter common prefix is not worth the bookkeeping


@dataclass(frozen=True)
class Pack:
    """One forward and backward pass."""

    ids_T: Tensor
    positions_T: Tensor
    rows: dict[int, slice]  # job → its tokens
    kept_rows: dict[int, slice]  # job → its tokens among those of keep_N
    texts: dict[int, list[Text]]  # job → which rows attend to which
    keep_N: Tensor  # the rows that predict a trained token; of each text in ascending order
    targets_N: Tensor  # the tokens they predict
    job_N: Tensor  # the job of each

    @cached_property
    def buckets(self) -> list[Bucket]:
        """Return the attention of the texts as batched products."""
        buckets = bucket_texts([(self.rows[job], texts) for job, texts in self.texts.items()])
        return [bucket.to(self.ids_T.device) for bucket in buckets]

    def to(self, device: torch.device) -> Pack:
        return Pack(
            self.ids_T.to(device),
            self.positions_T.to(device),
            self.rows,
            self.kept_rows,
            self.texts,
            self.keep_N.to(device),
            self.targets_N.to(device),
            self.job_N.to(device),
        )


def pack(jobs: Sequence[tuple[int, Sequence[Document]]]) -> Pack:
    """Lay out the documents of each job."""
    layout = _Layout()
    for job, documents in jobs:
        layout.add_job(job, documents)
    return layout.finish()


def common_prefix(documents: Sequence[Document]) -> int:
    """Return the length of the documents' common prefix before any trained token is predicted."""
    if len(documents) < 2:
        return 0
    first, last = min(document.ids for document in documents), max(document.ids for document in documents)
    limit = min(document.num_prompt for document in documents) - 1
    shared = next((i for i in range(limit) if first[i] != last[i]), limit)
    return shared if shared >= MIN_PREFIX else 0


class _Layout:
    """The row while it is being built."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.rows: dict[int, slice] = {}
        self.kept_rows: dict[int, slice] = {}
        self.texts: dict[int, list[Text]] = {}
        self.keep: list[int] = []
        self.targets: list[int] = []
        self.jobs: list[int] = []

    def add_job(self, job: int, documents: Sequence[Document]) -> None:
        begin = len(self.ids)
        begin_kept = len(self.keep)
        num_shared = common_prefix(documents)
        self.texts[job] = []
        if num_shared:
            self._add_text(job, documents[0].ids[:num_shared], range(0))
        shared = range(begin, begin + num_shared)
        for document in documents:
            self._add_document(job, document, shared)
        self.rows[job] = slice(begin, len(self.ids))
        self.kept_rows[job] = slice(begin_kept, len(self.keep))

    def _add_document(self, job: int, document: Document, shared: range) -> None:
        """Add a document without its shared tokens, up to the last token that predicts a trained one."""
        begin = len(self.ids) - len(shared)
        self._add_text(job, document.ids[len(shared) : document.spans[-1][1] - 1], shared)
        for start, end in document.spans:
            self.keep += range(begin + start - 1, begin + end - 1)
            self.targets += document.ids[start:end]
        self.jobs += [job] * document.num_trained

    def _add_text(self, job: int, ids: Sequence[int], shared: range) -> None:
        own = range(len(self.ids), len(self.ids) + len(ids))
        self.ids += ids
        self.positions += range(len(shared), len(shared) + len(ids))
        self.texts[job].append(Text(shared, own))

    def finish(self) -> Pack:
        return Pack(
            torch.tensor(self.ids),
            torch.tensor(self.positions),
            self.rows,
            self.kept_rows,
            self.texts,
            torch.tensor(self.keep),
            torch.tensor(self.targets),
            torch.tensor(self.jobs),
        )
