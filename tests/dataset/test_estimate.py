"""How long a tuning takes, from what others took."""

from __future__ import annotations

import pytest

from overtone.dataset.estimate import (
    OLDER,
    Estimate,
    SpeedRecord,
    estimate,
    find_records,
    past_errors,
    predict_seconds,
)


def record(num_steps: int, num_tokens: int, seconds: float, **others: str) -> SpeedRecord:
    named = {"base_id": "b", "processor": "p", "device": "2 threads", "precision": "float32", **others}
    return SpeedRecord(**named, num_steps=num_steps, num_tokens=num_tokens, seconds=seconds, peak_bytes=7)


PLANNED = Estimate(epoch_count=5, batch_size=4, num_steps=10, num_tokens=1500)


def exact(num_steps: int, num_tokens: int) -> SpeedRecord:
    return record(num_steps, num_tokens, 0.1 * num_steps + 0.002 * num_tokens)


def test_seconds_a_step_and_a_token_are_found_from_jobs_that_differ() -> None:
    records = [exact(60, 9480), exact(60, 2000), exact(10, 9480)]
    assert predict_seconds(records, 100, 5000) == pytest.approx(20.0)


@pytest.mark.parametrize("count", [1, 3])
def test_jobs_that_are_alike_tell_only_the_tokens(count: int) -> None:
    assert predict_seconds([record(10, 1000, 5.0)] * count, 50, 2000) == pytest.approx(10.0)


def test_a_step_never_takes_less_than_nothing() -> None:
    records = [record(100, 1000, 1.0), record(10, 1000, 2.0)]
    assert predict_seconds(records, 100, 1000) > 0


def test_newer_jobs_count_for_more() -> None:
    records = [record(10, 1000, 10.0), record(10, 1000, 20.0)]
    mean = 10 ** (OLDER / (1 + OLDER)) * 20 ** (1 / (1 + OLDER))
    assert predict_seconds(records, 10, 1000) == pytest.approx(mean)
    assert mean > (10 * 20) ** 0.5


def test_an_estimate_s_error_is_that_of_earlier_estimates() -> None:
    records = [record(10, 1000, 10.0), record(10, 1000, 12.0), record(10, 1000, 8.0), record(10, 1000, 10.0)]
    errors = past_errors(records)
    assert errors[0] == pytest.approx(1.2)
    assert (len(errors), min(errors) < 0.8) == (3, True)
    found = estimate(PLANNED, 1000, records)
    assert found.seconds is not None
    assert found.low_s == pytest.approx(found.seconds * min(errors))
    assert found.high_s == pytest.approx(found.seconds * max(errors))
    assert (found.peak_bytes, found.num_jobs, found.device) == (7, 4, "2 threads")
    assert (found.num_steps, found.num_tokens) == (10, 1500)


def test_few_jobs_give_no_range() -> None:
    found = estimate(PLANNED, 1000, [record(10, 1000, 10.0)] * 3)
    assert (found.seconds, found.low_s, found.high_s) == (pytest.approx(10.0), None, None)


@pytest.mark.parametrize(("text_tokens", "records"), [(1000, []), (None, [record(10, 1000, 10.0)])])
def test_nothing_is_made_up(text_tokens: int | None, records: list[SpeedRecord]) -> None:
    assert estimate(PLANNED, text_tokens, records) == PLANNED


def test_only_jobs_of_the_same_kind_count() -> None:
    records = [
        record(1, 1, 1, base_id="other"),
        record(2, 1, 1, processor="other"),
        record(3, 1, 1, device="1 thread"),
        record(4, 1, 1),
        record(5, 1, 1, precision="bfloat16"),
        record(6, 1, 1),
    ]
    assert [each.num_steps for each in find_records(records, "b", "p")] == [4, 6]
    assert find_records(records, "b", "none") == []
