"""How long a tuning will take, from what finished jobs took on the same machine, and how far off such estimates were.

A job's time is taken as `a · steps + b · tokens`: a pass over the weights costs something whatever it carries. Tokens
are those of the texts alone, because a pass computes what the template puts before them once. The two are fitted to the
finished jobs by the least squares of the relative errors, newer jobs counting for more, and scaled so that these errors
have a geometric mean of 1. With one job, or jobs that are all alike, a is 0.

The error is not assumed: every finished job is estimated from those before it and compared with what it took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log, prod

MOST_RECORDS = 20  # the newest: a machine is busier one day than another
OLDER = 0.8  # the weight of a job is this, times that of the next newer one
ALIKE = 1e-3  # jobs whose steps and tokens are proportional up to this share cannot tell the two costs apart
LEAST_ERRORS = 3  # below which nothing is said about how far off estimates are


@dataclass(frozen=True)
class SpeedRecord:
    """What one finished job took, which had the trainer for itself."""

    base_id: str
    processor: str
    device: str  # cpu with its threads, or the GPU's name
    precision: str
    num_steps: int
    num_tokens: int  # of the texts of all steps together, without the template's
    seconds: float
    peak_bytes: int  # the trainer's memory at its largest


@dataclass(frozen=True)
class Estimate:
    """What a tuning takes. None: not known on this machine before a first job has finished."""

    epoch_count: int
    batch_size: int
    num_steps: int
    num_tokens: int | None = None  # of all epochs; None where tokens could not be counted
    seconds: float | None = None
    low_s: float | None = None  # the range in which it would be if it is as far off as earlier estimates were
    high_s: float | None = None
    peak_bytes: int | None = None
    num_jobs: int = 0  # that it is taken from
    device: str = ""  # where they ran


def find_records(records: Sequence[SpeedRecord], base_id: str, processor: str) -> list[SpeedRecord]:
    """Return the records of this base on this processor, and on the device that was used last."""
    same = [each for each in records if each.base_id == base_id and each.processor == processor]
    way = (same[-1].device, same[-1].precision) if same else ("", "")
    return [each for each in same if (each.device, each.precision) == way][-MOST_RECORDS:]


def predict_seconds(records: Sequence[SpeedRecord], num_steps: int, num_tokens: int) -> float:
    """Return what a job of so many steps and tokens takes, by records of which there is at least one."""
    per_step, per_token = _fit(records)
    return per_step * num_steps + per_token * num_tokens


def past_errors(records: Sequence[SpeedRecord]) -> list[float]:
    """Return, for each job but the first, what it took as a multiple of what the jobs before it made one expect."""
    return [
        record.seconds / predict_seconds(records[:index], record.num_steps, record.num_tokens)
        for index, record in enumerate(records)
        if index
    ]


def estimate(known: Estimate, text_tokens: int | None, records: Sequence[SpeedRecord]) -> Estimate:
    """Return an estimate with time and memory by the records, as far as they and the tokens of its texts are known."""
    if text_tokens is None or not records:
        return known
    seconds = predict_seconds(records, known.num_steps, text_tokens)
    errors = past_errors(records)
    is_known = len(errors) >= LEAST_ERRORS
    return replace(
        known,
        seconds=seconds,
        low_s=seconds * min(1.0, *errors) if is_known else None,
        high_s=seconds * max(1.0, *errors) if is_known else None,
        peak_bytes=max(record.peak_bytes for record in records),
        num_jobs=len(records),
        device=records[-1].device,
    )


def _fit(records: Sequence[SpeedRecord]) -> tuple[float, float]:
    """Return seconds a step and seconds a token; the first is 0 where the records cannot tell the two apart."""
    weights = [OLDER**age for age in range(len(records) - 1, -1, -1)]
    per_step, per_token = _least_squares(records, weights)
    ratios = [
        log(each.seconds / (per_step * each.num_steps + per_token * each.num_tokens)) for each in records
    ]
    scale = exp(_sum(weights, ratios) / sum(weights))
    return scale * per_step, scale * per_token


def _least_squares(records: Sequence[SpeedRecord], weights: Sequence[float]) -> tuple[float, float]:
    """Return a and b of the least Σ w (a s + b t − 1)², for the steps s and tokens t that each job did in a second."""
    steps = [record.num_steps / record.seconds for record in records]
    tokens = [record.num_tokens / record.seconds for record in records]
    ss = _sum(weights, steps, steps)
    tt = _sum(weights, tokens, tokens)
    st = _sum(weights, steps, tokens)
    s1 = _sum(weights, steps)
    t1 = _sum(weights, tokens)
    determinant = ss * tt - st * st
    if determinant > ALIKE * ss * tt:
        per_step = (s1 * tt - t1 * st) / determinant
        per_token = (t1 * ss - s1 * st) / determinant
        if per_step >= 0 and per_token >= 0:
            return per_step, per_token
    return 0.0, t1 / tt


def _sum(*factors: Sequence[float]) -> float:
    return sum(map(prod, zip(*factors, strict=True)))
