"""The life of a job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from overtone.domain.tuning import TunedModel
from overtone.errors import Code
from overtone.jobs.queue import (
    MOVES,
    Cancelled,
    Failed,
    Job,
    JobLost,
    Outcome,
    Queue,
    Succeeded,
    Verdict,
)
from overtone.store.store import Store
from tests.store.rows import add_model, snapshot


@pytest.fixture
def queue(store: Store) -> Queue:
    return Queue(store)


def claim(queue: Queue, worker: str = "w1") -> Job:
    job = queue.claim(worker, "tiny")
    assert job is not None
    return job


def row_of(store: Store, tuned_model_id: str = "a") -> TunedModel:
    return store.get_tuned_model(tuned_model_id)


def test_the_oldest_job_of_the_base_comes_first(store: Store, queue: Queue) -> None:
    add_model(store, "other", base_id="large")
    add_model(store, "a")
    add_model(store, "b")
    assert [claim(queue).tuned_model_id, claim(queue).tuned_model_id] == ["a", "b"]
    assert queue.claim("w", "tiny") is None


def test_two_workers_never_claim_the_same_job(store: Store, queue: Queue) -> None:
    for number in range(20):
        add_model(store, f"m{number}")
    with ThreadPoolExecutor(4) as workers:
        claimed = list(workers.map(lambda number: queue.claim(f"w{number}", "tiny"), range(24)))
    ids = [job.operation_id for job in claimed if job is not None]
    assert len(ids) == len(set(ids)) == 20


def test_a_claimed_job_knows_what_to_do(store: Store, queue: Queue) -> None:
    row = add_model(store, "a")
    job = claim(queue)
    assert job.artifacts == store.artifacts_of(row)
    assert (job.attempt, job.completed_steps, job.continues, job.crashes) == (1, 0, False, 0)
    assert row_of(store).started_at is not None


def test_a_beat_stores_the_steps_once(store: Store, queue: Queue) -> None:
    add_model(store, "a")
    job = claim(queue)
    assert queue.beat(job, [snapshot(1), snapshot(2)]) is Verdict.CONTINUE
    queue.beat(job, [snapshot(2), snapshot(3)])
    assert store.list_snapshots(job.operation_id) == [snapshot(1), snapshot(2), snapshot(3)]
    assert row_of(store).completed_steps == 3


@pytest.mark.parametrize(
    ("outcome", "state", "error_code"),
    [
        (Succeeded("d"), "ACTIVE", None),
        (Failed(Code.INTERNAL, "the loss is not a number"), "FAILED", 13),
        (Cancelled("d"), "ACTIVE", 1),
        (Cancelled(), "FAILED", 1),
    ],
)
def test_settling_decides_the_models_state(
    store: Store, queue: Queue, outcome: Outcome, state: str, error_code: int | None
) -> None:
    add_model(store, "a")
    queue.settle(claim(queue), outcome)
    row = row_of(store)
    assert (row.state, row.error_code) == (state, error_code)
    assert row.update_time == row.completed_at


def test_the_next_attempt_reads_what_was_noted_of_the_crashes(queue: Queue, store: Store) -> None:
    add_model(store, "a")
    job = claim(queue)
    assert job.crash_record is None
    queue.note_crashes(job, {"in_a_row": 1, "last": {"step": 3}})
    queue.release(job)
    assert claim(queue, "w2").crash_record == {"in_a_row": 1, "last": {"step": 3}}
    with pytest.raises(JobLost):
        queue.note_crashes(job, {})


def test_a_settled_job_cannot_be_settled_again(store: Store, queue: Queue) -> None:
    add_model(store, "a")
    job = claim(queue)
    queue.settle(job, Succeeded("d"))
    with pytest.raises(JobLost):
        queue.settle(job, Failed(Code.INTERNAL, "late"))
    assert row_of(store).state == "ACTIVE"


def test_a_rescued_job_is_lost_to_its_first_worker(store: Store, queue: Queue) -> None:
    add_model(store, "a")
    first = claim(queue)
    queue.beat(first, [snapshot(1)])
    (silent,) = queue.list_running()
    assert queue.rescue(silent)
    second = claim(queue, "w2")
    assert (second.attempt, second.crashes, second.completed_steps) == (2, 1, 1)
    with pytest.raises(JobLost):
        queue.beat(first)
    with pytest.raises(JobLost):
        queue.settle(first, Succeeded("d"))


def test_a_worker_that_has_beaten_since_is_not_rescued(store: Store, queue: Queue) -> None:
    add_model(store, "a")
    job = claim(queue)
    (seen,) = queue.list_running()
    queue.beat(job)
    assert not queue.rescue(seen)
    queue.beat(job)


def test_a_released_job_waits_again_and_that_is_no_crash(store: Store, queue: Queue) -> None:
    add_model(store, "a")
    queue.release(claim(queue))
    assert claim(queue).crashes == 0


def test_deleting_the_model_takes_the_job_from_its_worker(store: Store, queue: Queue) -> None:
    row = add_model(store, "a")
    job = claim(queue)
    store.delete_tuned_model(row)
    with pytest.raises(JobLost):
        queue.beat(job, [snapshot(1)])


def test_cancelling_a_job_that_nobody_began_ends_it(store: Store, queue: Queue) -> None:
    row = add_model(store, "a")
    queue.cancel(row.operation_id)
    assert (row_of(store).job_state, row_of(store).state, row_of(store).error_code) == (
        "CANCELLED",
        "FAILED",
        1,
    )
    assert queue.claim("w", "tiny") is None


def test_cancelling_a_running_job_tells_its_worker(store: Store, queue: Queue) -> None:
    row = add_model(store, "a")
    job = claim(queue)
    queue.cancel(row.operation_id)
    queue.cancel(row.operation_id)
    assert queue.beat(job, [snapshot(1)]) is Verdict.CANCEL


def test_a_job_cancelled_between_two_workers_is_resumed_to_be_saved(store: Store, queue: Queue) -> None:
    row = add_model(store, "a")
    job = claim(queue)
    queue.beat(job, [snapshot(1)])
    queue.release(job)
    queue.cancel(row.operation_id)
    assert queue.beat(claim(queue)) is Verdict.CANCEL


def test_cancelling_what_has_ended_changes_nothing(store: Store, queue: Queue) -> None:
    row = add_model(store, "a")
    queue.settle(claim(queue), Succeeded("d"))
    queue.cancel(row.operation_id)
    assert (row_of(store).state, row_of(store).error_code) == ("ACTIVE", None)


def test_every_state_that_can_be_reached_has_its_moves() -> None:
    assert set().union(*MOVES.values()) <= set(MOVES)


def test_a_base_has_jobs_until_they_have_ended(store: Store, queue: Queue) -> None:
    add_model(store, "waits", base_id="large")
    add_model(store, "a")
    add_model(store, "b")
    running, other = claim(queue), claim(queue)
    assert sorted(queue.list_bases()) == ["large", "tiny"]
    assert [each.operation_id for each in queue.list_running("tiny")] == [
        running.operation_id,
        other.operation_id,
    ]
    assert queue.list_running("large") == []
    for job in (running, other):
        queue.settle(job, Succeeded("d"))
    assert queue.list_bases() == ["large"]
