from __future__ import annotations

import pytest
import torch

from overtone.train import attention
from overtone.train.data import Document
from overtone.train.packing import common_prefix, pack
from tests.train.texts import TEMPLATE, documents


def test_the_common_beginning_stands_in_the_row_once() -> None:
    packed = pack([(0, documents())])
    own_lengths = [len(document.ids) - 1 - len(TEMPLATE) for document in documents()]
    assert packed.ids_T.tolist()[: len(TEMPLATE)] == TEMPLATE
    assert len(packed.ids_T) == len(TEMPLATE) + sum(own_lengths)
    assert packed.positions_T.tolist()[: len(TEMPLATE) + 2] == [0, 1, 2, 3, 4, 5, 6, 7]


def test_targets_are_the_outputs_and_stand_behind_the_rows_kept() -> None:
    packed = pack([(0, documents()[:2]), (1, documents()[2:])])
    outputs = [token for document in documents() for token in document.ids[document.num_prompt :]]
    assert packed.targets_N.tolist() == outputs
    followed = [i for i, target in zip(packed.keep_N.tolist(), outputs, strict=True) if target != 1]
    assert all(
        packed.ids_T[i + 1] == target
        for i, target in zip(followed, [t for t in outputs if t != 1], strict=True)
    )


def test_jobs_are_neighbouring_slices() -> None:
    packed = pack([(0, documents()[:2]), (3, documents()[2:])])
    assert packed.rows[0].stop == packed.rows[3].start
    assert packed.rows[3].stop == len(packed.ids_T)


def test_the_prefix_never_reaches_a_token_that_predicts() -> None:
    twins = [Document.of_pair(range(20), num_prompt=9)] * 2
    assert common_prefix(twins) == 8
    assert common_prefix(twins[:1]) == 0


@pytest.mark.parametrize("dense_rows", [0, 160])
@pytest.mark.parametrize("max_queries", [2, 3, 512])
def test_a_query_sees_its_own_text_up_to_itself_and_nothing_else(
    max_queries: int, dense_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "MAX_QUERIES", max_queries)
    monkeypatch.setattr(attention, "DENSE_ROWS", dense_rows)
    batch = documents()
    packed = pack([(0, batch)])
    seen: dict[int, list[int]] = {}
    rows_T11 = torch.arange(len(packed.ids_T))[:, None, None]
    for bucket in packed.buckets:
        mask_BLS = bucket.mask_BLS(None, torch.float32)
        for queries, keys, mask_LS in zip(
            bucket.queries(rows_T11), bucket.keys(rows_T11), mask_BLS, strict=True
        ):
            for query, mask_S in zip(queries.flatten().tolist(), mask_LS, strict=True):
                seen[query] = packed.ids_T[keys.flatten()[mask_S == 0]].tolist()

    begin = len(TEMPLATE)
    for document in batch:
        for length in range(begin + 1, len(document.ids)):
            assert seen[begin + length - len(TEMPLATE) - 1] == list(document.ids[:length])
        begin += len(document.ids) - 1 - len(TEMPLATE)
