"""The trainer on a tiny base: real queue, real store, real files; each pass driven by hand."""

from __future__ import annotations

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select, update

from overtone.config import Settings
from overtone.dataset.examples import Dataset
from overtone.dataset.stored import save_examples
from overtone.domain.tuning import Snapshot, TunedModel
from overtone.errors import Unavailable
from overtone.jobs.queue import Job, Outcome, Queue
from overtone.model.adapter import load_adapter, save_adapter
from overtone.store.artifacts import Artifacts
from overtone.store.speeds import load_speeds
from overtone.store.tables import jobs
from overtone.train.data import Document
from overtone.train.loop import run_pass
from overtone.train.tuning import Tuning
from overtone.trainer import running_job, settling, trainer
from overtone.trainer.attempts import CrashRecord, Mark
from overtone.trainer.trainer import Trainer
from tests.patience import HANG_S, wait_until
from tests.store.databases import new_store
from tests.store.rows import OWNER, job_values, model_values
from tests.tiny import BASE_ID, make_base

torch.set_num_threads(1)
PAIRS = [("1", "2"), ("three", "four"), ("IV", "V"), ("nineteen", "twenty"), ("-7", "-6")]


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("bases"))


class Bench:
    """A data folder, its queue, and trainers that come and go."""

    def __init__(self, data: Path, base_folder: Path):
        self.settings, self.base_folder = Settings(data=data), base_folder
        self.store = new_store(data)
        self.queue = Queue(self.store)
        self.trainers: list[Trainer] = []

    def add(self, name: str, seed: int = 1, continues: bool = False, **values: Any) -> TunedModel:
        """Create a tuned model from the five pairs: two epochs in batches of two unless told otherwise."""
        sizes = {"epoch_count": 2, "batch_size": 2, "total_steps": 5, "num_examples": len(PAIRS)} | values
        job = job_values(base_id=BASE_ID, continues=continues, **sizes) | {"seed": seed}
        return self.store.create_tuned_model(model_values(name, base_id=BASE_ID), job, OWNER, write_examples)

    def trainer(self) -> Trainer:
        """Start a trainer. One that came before is as good as killed: it is never asked again."""
        for dead in self.trainers:
            dead._reporter.close()
        self.trainers.append(Trainer(self.settings, self.queue, self.base_folder))
        return self.trainers[-1]

    def finish(self, *names: str) -> list[TunedModel]:
        """Let a new trainer work until these models are made, or have failed."""
        return self.work_off(self.trainer(), *names)

    def work_off(self, worker: Trainer, *names: str) -> list[TunedModel]:
        """Let this trainer work until these models are made, or have failed."""
        while any(self.row(name).state == "CREATING" for name in names):
            worker.work()
        return [self.row(name) for name in names]

    def row(self, name: str) -> TunedModel:
        return self.store.get_tuned_model(name)

    def beat_at(self, name: str) -> datetime:
        with self.store.reading() as connection:
            beats = select(jobs.c.beat_at).where(jobs.c.tuned_model_uid == self.row(name).uid)
            return connection.execute(beats).scalar_one()

    def crash_record(self, name: str) -> CrashRecord:
        with self.store.reading() as connection:
            records = select(jobs.c.crash_record).where(jobs.c.tuned_model_uid == self.row(name).uid)
            return CrashRecord.from_json(connection.execute(records).scalar_one())

    def files(self, name: str) -> Artifacts:
        return self.store.artifacts_of(self.row(name))

    def folder(self, name: str) -> Path:
        return self.files(name).folder

    def snapshots(self, name: str) -> list[Snapshot]:
        return self.store.list_snapshots(self.row(name).operation_id)

    def losses(self, name: str) -> list[float]:
        return [snapshot.mean_loss for snapshot in self.snapshots(name)]

    def close(self) -> None:
        for worker in self.trainers:
            worker._reporter.close()
        self.store.close()


def write_examples(artifacts: Artifacts) -> None:
    save_examples(artifacts.examples, Dataset.of_pairs(PAIRS))


@pytest.fixture
def bench(tmp_path: Path, base_folder: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, base_folder)
    yield bench
    bench.close()


LONG: dict[str, Any] = {"epoch_count": 100, "total_steps": 250}


def work_until(worker: Trainer, condition: Callable[[], object]) -> None:
    def works() -> bool:
        worker.work()
        return bool(condition())

    wait_until(works)


def test_a_job_becomes_a_model_with_a_snapshot_for_each_step(bench: Bench) -> None:
    bench.add("a")
    (row,) = bench.finish("a")

    weights = (bench.files("a").adapter / "adapter_model.safetensors").read_bytes()
    assert row.state == "ACTIVE"
    assert row.adapter_digest == hashlib.sha256(weights).hexdigest()
    assert [snapshot.step for snapshot in bench.snapshots("a")] == [1, 2, 3, 4, 5]
    assert [snapshot.epoch for snapshot in bench.snapshots("a")] == [0, 0, 1, 1, 2]
    assert load_adapter(bench.files("a").adapter, row.adapter_digest, BASE_ID).rank == 16
    assert not (bench.files("a").checkpoints).exists()


def test_nothing_to_do_is_said(bench: Bench) -> None:
    assert bench.trainer().work() is False


def test_jobs_in_company_have_the_losses_they_have_alone(bench: Bench) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "a": {"seed": 1},
        "b": {"seed": 2, "batch_size": 3, "total_steps": 4, "learning_rate": 0.01},
        "c": {"seed": 3, "epoch_count": 4, "total_steps": 10},
    }
    for name, values in kinds.items():
        bench.add(f"alone-{name}", **values)
        bench.finish(f"alone-{name}")
    for name, values in kinds.items():
        bench.add(name, **values)
    bench.finish(*kinds)

    for name in kinds:
        assert bench.losses(name) == pytest.approx(bench.losses(f"alone-{name}"), rel=1e-5)


def test_a_killed_trainer_s_job_ends_with_the_same_bits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_job, "CHECKPOINT_EVERY_S", 0.0)
    bench.add("unbroken")
    (expected,) = bench.finish("unbroken")
    bench.add("broken")

    for num_passes in (2, 1):
        killed = bench.trainer()
        for _ in range(num_passes):
            killed.work()
        killed._jobs[0].saver.wait()
    (row,) = bench.finish("broken")

    assert row.adapter_digest == expected.adapter_digest
    assert bench.losses("broken") == bench.losses("unbroken")


def test_a_trainer_told_to_stop_leaves_its_job_to_the_next(bench: Bench) -> None:
    bench.add("unbroken")
    (expected,) = bench.finish("unbroken")
    bench.add("broken")
    stopped = bench.trainer()
    stopped.work()
    stopped.work()
    stopped.close()
    assert (bench.row("broken").job_state, bench.row("broken").completed_steps) == ("QUEUED", 2)
    claimed = bench.queue.claim("someone", BASE_ID)
    assert claimed is not None
    assert (claimed.attempt, claimed.crashes) == (2, 0)
    bench.queue.release(claimed)

    (row,) = bench.finish("broken")

    assert row.adapter_digest == expected.adapter_digest
    assert bench.losses("broken") == bench.losses("unbroken")


def test_run_stops_when_told(bench: Bench) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=trainer.run, args=(bench.settings, bench.queue, bench.base_folder, stop))
    thread.start()
    bench.add("a")
    wait_until(lambda: bench.row("a").state != "CREATING")
    stop.set()
    thread.join(HANG_S)
    assert not thread.is_alive()


def test_cancelled_after_a_step_keeps_what_was_learned(bench: Bench) -> None:
    row = bench.add("a", epoch_count=2000, total_steps=5000)
    worker = bench.trainer()
    work_until(worker, lambda: bench.snapshots("a"))

    bench.queue.cancel(row.operation_id)
    work_until(worker, lambda: bench.row("a").state != "CREATING")

    row = bench.row("a")
    assert (row.state, row.error_code) == ("ACTIVE", 1)
    assert load_adapter(bench.files("a").adapter, row.adapter_digest)


def test_a_deleted_model_s_job_is_dropped_and_its_neighbour_goes_on(bench: Bench) -> None:
    bench.add("gone", epoch_count=2000, total_steps=5000)
    bench.add("stays", seed=2)
    worker = bench.trainer()
    worker.work()
    gone = worker._jobs[0].tuning

    bench.store.delete_tuned_model(bench.row("gone"))
    work_until(worker, lambda: not worker._jobs)

    assert bench.row("stays").state == "ACTIVE"
    assert not gone.done


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text_input": "1", "output": "2"}\n{"text_in', "damaged at line 2"),
        ('{"text_input": "1", "output": "2"}\n', "1 training examples are stored; there were 5"),
        (None, "cannot be read"),
    ],
)
def test_damaged_examples_fail_their_own_job_only(content: str | None, said: str, bench: Bench) -> None:
    bench.add("damaged")
    bench.add("sound")
    path = bench.files("damaged").examples
    path.write_text(content) if content else path.unlink()

    damaged, sound = bench.finish("damaged", "sound")

    assert (damaged.state, sound.state) == ("FAILED", "ACTIVE")
    assert said in str(damaged.error_message)


def test_a_device_that_is_not_there_fails_the_job_with_what_to_set(bench: Bench) -> None:
    bench.settings = replace(bench.settings, device="cuda:99")
    bench.add("a")
    (row,) = bench.finish("a")
    assert row.state == "FAILED"
    assert str(row.error_message).startswith("OVERTONE_DEVICE is cuda:99, but PyTorch")


def test_a_loss_that_runs_away_is_given_half_the_rate_once_and_then_fails(bench: Bench) -> None:
    bench.add("wild", learning_rate=1e30)
    bench.add("sound")
    wild, sound = bench.finish("wild", "sound")
    assert (wild.state, sound.state) == ("FAILED", "ACTIVE")
    assert "even with half the learning rate of 1e+30" in str(wild.error_message)


def test_a_tuned_model_that_could_not_be_asked_has_failed(bench: Bench) -> None:
    """The loss is finite, but the engine's cache is float16."""
    bench.add("large", learning_rate=10.0)
    (large,) = bench.finish("large")
    assert large.state == "FAILED"
    assert "With the learning rate of 10 " in str(large.error_message)
    assert "does not fit into float16" in str(large.error_message)


def test_the_log_tells_in_words_when_a_job_starts_stumbles_and_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="overtone")
    stumbles = iter([float("nan")])
    monkeypatch.setattr(Tuning, "add_loss", lambda self, share: setattr(self, "_loss", next(stumbles, share)))
    bench.add("a")
    bench.add("wild", learning_rate=1e30)
    bench.finish("a", "wild")
    lines = [record.getMessage() for record in caplog.records]
    assert "a started: 5 examples, 5 steps" in lines
    assert "a goes on at step 1 with half the learning rate" in lines
    assert any(
        re.fullmatch(r"a is ready after [\d.]+ (s|min|h), loss [\d.]+ → [\d.]+", line) for line in lines
    )
    assert any(line.startswith("wild failed: The loss ran away at step") for line in lines)


def test_the_log_tells_that_a_job_goes_on_after_a_restart(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="overtone")
    bench.add("a", **LONG)
    stopped = bench.trainer()
    work_until(stopped, lambda: bench.losses("a"))
    stopped.close()
    bench.finish("a")
    steps = [int(step) for step in re.findall(r"a goes on at step (\d+) of 250", caplog.text)]
    assert len(steps) == 1 and steps[0] > 1


def test_a_job_that_only_stumbled_goes_on_calmer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    stumbles = iter([float("nan")])
    monkeypatch.setattr(Tuning, "add_loss", lambda self, share: setattr(self, "_loss", next(stumbles, share)))
    bench.add("a")
    (row,) = bench.finish("a")
    assert row.state == "ACTIVE"
    assert len(bench.losses("a")) == 5


def test_an_error_in_a_pass_ends_the_job_that_has_it_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Tuning.take

    def take_or_fail(self: Tuning, max_tokens: int) -> list[Document]:
        if self.order.seed == 666:
            raise RuntimeError("no memory for this one")
        return take(self, max_tokens)

    monkeypatch.setattr(Tuning, "take", take_or_fail)
    for name, seed in (("a", 1), ("bad", 666), ("b", 2)):
        bench.add(name, seed=seed)

    rows = bench.finish("a", "bad", "b")

    assert [row.state for row in rows] == ["ACTIVE", "FAILED", "ACTIVE"]
    assert rows[1].error_message == "Tuning failed: no memory for this one"


def test_a_job_that_ends_its_process_is_given_up_after_three_deaths_and_its_companions_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_job, "CHECKPOINT_EVERY_S", float("inf"))
    deadly = {"seed": 666}
    for name, values in (("old", {}), ("deadly", deadly), ("young", {"seed": 2})):
        bench.add(name, **LONG, **values)
    for _ in range(3):
        work_until_death(bench.trainer(), monkeypatch, deadly_step=2)

    rows = bench.finish("deadly", "old", "young")

    assert [row.state for row in rows] == ["FAILED", "ACTIVE", "ACTIVE"]
    assert rows[0].error_message == (
        "The trainer crashed 3 times near step 2 of this job, the last two times with no other job running."
    )


def test_a_job_that_kept_a_step_between_two_deaths_is_not_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_job, "CHECKPOINT_EVERY_S", float("inf"))
    bench.add("a", **LONG, seed=666)
    for deadly_step in (9, 0, 5):
        work_until_death(bench.trainer(), monkeypatch, deadly_step)
    bench.trainer()._look_for_work()
    assert bench.crash_record("a").in_a_row == 1
    assert bench.row("a").state == "CREATING"


def test_jobs_whose_trainer_is_killed_again_and_again_all_end_as_if_undisturbed(bench: Bench) -> None:
    names = ["a", "b", "c"]
    for seed, name in enumerate(names):
        bench.add(f"quiet-{name}", seed=seed)
    expected = bench.finish(*(f"quiet-{name}" for name in names))
    for seed, name in enumerate(names):
        bench.add(name, seed=seed)

    for _ in range(8):  # each time after the first step that is kept
        killed = bench.trainer()
        killed.work()
        for running in killed._jobs:
            running.saver.wait()

    rows = bench.finish(*names)
    assert [row.state for row in rows] == ["ACTIVE"] * 3
    assert [row.adapter_digest for row in rows] == [row.adapter_digest for row in expected]
    for name in names:
        assert bench.losses(name) == bench.losses(f"quiet-{name}")


def test_a_job_that_waited_is_not_blamed_for_its_trainer_s_deaths(bench: Bench) -> None:
    bench.add("works", **LONG)
    bench.add("waits", **LONG, seed=2)
    for _ in range(5):
        killed = bench.trainer()
        killed._look_for_work()
        killed._jobs[0].alone_until = 999  # so that the other waits
        killed.work()
    worker = bench.trainer()
    worker._look_for_work()
    assert bench.crash_record("waits").in_a_row == 0
    assert {bench.row(name).state for name in ("works", "waits")} == {"CREATING"}


def test_a_job_that_was_in_the_pass_before_is_not_blamed_for_a_death_in_this_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, name in enumerate(("before", "now")):
        bench.add(name, **LONG, seed=seed)
    passes: list[int] = []

    def die_in_the_second(model: Any, tunings: list[Tuning], num_tokens: int) -> Any:
        passes.extend(tuning.order.seed for tuning in tunings)
        if len(passes) == 2:
            raise KeyboardInterrupt
        return run_pass(model, tunings, num_tokens)

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "max_tokens", lambda decoder: 1)  # one job a pass
        patched.setattr(trainer, "run_pass", die_in_the_second)
        killed = bench.trainer()
        killed.work()
        with pytest.raises(KeyboardInterrupt):
            killed.work()
    assert passes == [0, 1]

    bench.trainer()._look_for_work()

    blamed = {name: bench.crash_record(name).in_a_row for name in ("before", "now")}
    assert blamed == {"before": 0, "now": 1}


def test_a_trainer_leaves_the_jobs_of_another_base_s_trainer_alone(bench: Bench) -> None:
    model, job = model_values("b", base_id="other"), job_values(base_id="other")
    bench.store.create_tuned_model(model, job, OWNER, write_examples)
    bench.queue.claim("the other's", "other")
    bench.trainer().work()
    assert bench.row("b").job_state == "RUNNING"


def test_a_killed_trainer_s_job_goes_on_at_once_though_the_clock_was_set_back(bench: Bench) -> None:
    bench.add("a")
    bench.trainer().work()  # and dies
    an_hour_on = datetime.now(UTC) + timedelta(hours=1)
    with bench.store.writing() as connection:
        connection.execute(update(jobs).values(beat_at=an_hour_on))
    worker = bench.trainer()
    worker.work()
    assert [running.job.tuned_model_id for running in worker._jobs] == ["a"]


def test_a_suspected_job_keeps_no_company_until_it_is_past_the_place(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, name in enumerate(("a", "b")):
        bench.add(name, **LONG, seed=seed)
    bench.trainer().work()  # and dies
    passes: list[list[tuple[int, int]]] = []

    def run_and_note(model: Any, tunings: list[Tuning], num_tokens: int) -> Any:
        passes.append([(tuning.order.seed, tuning.step) for tuning in tunings])
        return run_pass(model, tunings, num_tokens)

    monkeypatch.setattr(trainer, "run_pass", run_and_note)
    worker = bench.trainer()
    for _ in range(6):
        worker.work()
    assert [(0, 0)] in passes and [(1, 0)] in passes  # the suspects, where their process died
    assert all(len(each) == 2 for each in passes[3:])


def test_a_job_that_died_twice_among_many_is_tried_among_half_as_many(bench: Bench) -> None:
    for number in range(3):
        bench.add(f"m{number}", **LONG)
    bench.add("large", **LONG)
    record = CrashRecord(0, 2, 0, Mark(0, 0, 0, alone=True, company=3))
    with bench.store.writing() as connection:
        large = jobs.c.tuned_model_uid == bench.row("large").uid
        connection.execute(update(jobs).where(large).values(crash_record=asdict(record)))
    worker = bench.trainer()
    worker.work()
    assert [running.job.tuned_model_id for running in worker._jobs] == ["m0", "m1", "m2"]
    assert bench.row("large").job_state == "QUEUED"
    for name in ("m0", "m1"):
        bench.store.delete_tuned_model(bench.row(name))
    work_until(worker, lambda: bench.row("large").job_state == "RUNNING")


def work_until_death(worker: Trainer, monkeypatch: pytest.MonkeyPatch, deadly_step: int) -> None:
    """Let a trainer work until it takes the job of seed 666 into a pass at this step: there its process dies."""

    class Death(BaseException):
        pass

    take = Tuning.take

    def take_or_die(self: Tuning, max_tokens: int) -> list[Document]:
        if self.order.seed == 666 and self.step == deadly_step:
            raise Death
        return take(self, max_tokens)

    with monkeypatch.context() as patch:
        patch.setattr(Tuning, "take", take_or_die)
        with pytest.raises(Death):
            while True:
                worker.work()


def test_whoever_waits_while_a_trainer_dies_is_not_blamed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_job, "CHECKPOINT_EVERY_S", 0.0)
    bench.add("oldest", epoch_count=40, total_steps=100)
    names = ["oldest", "b", "c"]
    for name in names[1:]:
        bench.add(name, epoch_count=4, total_steps=10)
    for _ in range(8):
        killed = bench.trainer()
        for _ in range(5 + 2):
            killed.work()
        for running in killed._jobs:
            running.saver.wait()

    assert [row.state for row in bench.finish(*names)] == ["ACTIVE"] * 3


def test_a_trainer_that_was_told_to_stop_leaves_no_mark(bench: Bench) -> None:
    bench.add("a", epoch_count=100, total_steps=250)
    worker = bench.trainer()
    worker.work()
    assert bench.files("a").mark.exists()
    worker.close()
    assert not bench.files("a").mark.exists()


def full_disk(*_: object) -> str:
    raise OSError(28, "No space left on device")


def test_a_result_waits_for_room_on_the_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "TRY_AGAIN_S", 0.0)
    monkeypatch.setattr(running_job, "CHECKPOINT_EVERY_S", 0.0)
    save_adapter = running_job.save_adapter
    monkeypatch.setattr(running_job, "save_adapter", full_disk)
    bench.add("a")
    bench.add("b", seed=2)
    worker = bench.trainer()
    for _ in range(20):
        worker.work()
    assert {bench.row(name).state for name in ("a", "b")} == {"CREATING"}

    monkeypatch.setattr(running_job, "save_adapter", save_adapter)
    worker.work()

    assert {bench.row(name).state for name in ("a", "b")} == {"ACTIVE"}


def test_a_result_that_waits_for_room_is_not_blamed_for_its_trainer_s_deaths(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_job, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(trainer, "TRY_AGAIN_S", 0.0)
    bench.add("a")
    with monkeypatch.context() as full:
        full.setattr(running_job, "save_adapter", full_disk)
        for _ in range(5):
            killed = bench.trainer()
            work_until(killed, lambda killed=killed: killed._jobs and killed._jobs[0].save_at)  # type: ignore[misc]
            for _ in range(3):
                killed.work()
            killed._jobs[0].saver.wait()
    assert bench.finish("a")[0].state == "ACTIVE"


def test_another_trouble_of_the_disk_fails_the_job_and_not_the_trainer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(running_job, "save_adapter", broken)
    bench.add("a")
    (row,) = bench.finish("a")
    assert (row.state, row.error_code) == ("FAILED", 8)
    assert row.error_message == "The tuned weights could not be written: Input/output error."


def test_an_outcome_is_handed_in_until_the_database_takes_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "TRY_AGAIN_S", 0.0)
    settle, refusals = bench.queue.settle, iter([Unavailable("away")] * 5)

    def settle_later(job: Job, outcome: Outcome) -> None:
        for refusal in refusals:
            raise refusal
        settle(job, outcome)

    monkeypatch.setattr(bench.queue, "settle", settle_later)
    monkeypatch.setattr(running_job, "CHECKPOINT_EVERY_S", 0.0)
    bench.add("a")
    worker = bench.trainer()
    work_until(worker, lambda: not worker._jobs)
    assert bench.row("a").state == "CREATING"
    assert (bench.files("a").checkpoints).exists()

    work_until(worker, lambda: bench.row("a").state == "ACTIVE")

    assert not (bench.files("a").checkpoints).exists()


def test_jobs_wait_for_a_base_that_cannot_be_loaded_and_go_on_when_it_is_mended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trainer, "BASE_AGAIN_S", 0.0)
    shutil.copytree(bench.base_folder, tmp_path / "base")
    bench.base_folder = tmp_path / "base"
    weights = bench.base_folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    for name in ("a", "b"):
        bench.add(name)
    worker = bench.trainer()
    for _ in range(3):
        assert worker.work() is False
    assert {bench.row(name).job_state for name in ("a", "b")} == {"QUEUED"}
    assert caplog.text.count("its jobs wait") == 1
    assert "overtone models pull smollm2-135m-instruct" in caplog.text

    weights.write_bytes(whole)

    work_until(worker, lambda: {bench.row(name).state for name in ("a", "b")} == {"ACTIVE"})


def test_a_loss_that_was_high_from_the_beginning_is_no_runaway(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tuning, "add_loss", lambda self, share: setattr(self, "_loss", 200.0 + share))
    monkeypatch.setattr(running_job, "mean_loss", lambda *_: 190.0)
    bench.add("a")
    (row,) = bench.finish("a")
    assert row.state == "ACTIVE"


def test_a_loss_far_above_its_own_beginning_is_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Tuning, "add_loss", lambda self, share: setattr(self, "_loss", 20.0 * (self.step + 1))
    )
    bench.add("a")
    (row,) = bench.finish("a")
    assert row.state == "FAILED"
    assert "ran away at step 2, even with half the learning rate" in str(row.error_message)


def test_after_a_runaway_the_rate_is_half(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [1.0, float("nan")]
    monkeypatch.setattr(
        Tuning, "add_loss", lambda self, share: setattr(self, "_loss", losses.pop(0) if losses else 1.0)
    )
    bench.add("a", epoch_count=100, total_steps=250)
    worker = bench.trainer()
    work_until(worker, lambda: not losses)
    (running,) = worker._jobs
    assert running.tuning.rate == running.job.learning_rate / 2


def test_a_first_step_that_is_no_number_blames_the_base_and_not_the_rate(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tuning, "add_loss", lambda self, share: setattr(self, "_loss", float("nan")))
    bench.add("a")
    (row,) = bench.finish("a")
    assert "The base model models/smollm2-135m-instruct computes numbers that are not finite" in str(
        row.error_message
    )
    assert "learning_rate" not in str(row.error_message)


def test_a_huge_batch_stands_in_nobody_s_way_and_is_cancelled_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("overtone.trainer.trainer.max_tokens", lambda decoder: 512)  # short passes
    hog = bench.add("hog", epoch_count=10**7, batch_size=5 * 10**7, total_steps=1)
    bench.add("small", seed=2, epoch_count=1, batch_size=len(PAIRS), total_steps=1)
    worker = bench.trainer()
    work_until(worker, lambda: bench.row("small").state == "ACTIVE")
    assert bench.row("hog").state == "CREATING"

    bench.queue.cancel(hog.operation_id)
    worker._reporter.beat(worker._jobs[0].report)  # as it does several times a second
    worker.work()

    assert bench.row("hog").state != "CREATING"  # before another pass


class Refusing(Queue):
    """A queue whose database is away for so many calls of each of these verbs."""

    def __init__(self, bench: Bench, **refusals: int):
        super().__init__(bench.store)
        self.refusals = refusals

    def __getattribute__(self, name: str) -> Any:
        refusals = object.__getattribute__(self, "__dict__").get("refusals", {})
        if refusals.get(name, 0) > 0:
            refusals[name] -= 1
            return refuse
        return super().__getattribute__(name)


def refuse(*_: object) -> None:
    raise Unavailable("The database does not answer.")


@pytest.mark.parametrize(
    "verbs",
    [("has_waiting",), ("claim",), ("beat",), ("settle",), ("list_running",), ("settle", "beat", "claim")],
)
def test_a_database_that_is_away_for_a_while_costs_nothing_but_time(
    verbs: tuple[str, ...], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "TRY_AGAIN_S", 0.0)
    monkeypatch.setattr(trainer, "TRY_AGAIN_S", 0.0)
    bench.queue = Refusing(bench, **dict.fromkeys(verbs, 70))
    bench.add("a")
    bench.add("b", seed=2)
    rows = bench.finish("a", "b")
    assert [row.state for row in rows] == ["ACTIVE", "ACTIVE"]
    assert [snapshot.step for snapshot in bench.snapshots("b")] == [1, 2, 3, 4, 5]


def test_a_crash_that_the_database_cannot_take_is_forgotten_and_its_job_goes_on(bench: Bench) -> None:
    bench.add("a")
    bench.trainer().work()  # and dies
    bench.queue = Refusing(bench, note_crashes=1)
    (row,) = bench.finish("a")
    assert row.state == "ACTIVE"
    assert bench.crash_record("a") == CrashRecord()


def test_a_job_that_is_taken_away_while_its_crash_is_noted_is_dropped(bench: Bench) -> None:
    bench.add("a")
    bench.trainer().work()  # and dies
    worker = bench.trainer()
    note = bench.queue.note_crashes

    def lose(job: Job, record: Any) -> None:
        bench.store.delete_tuned_model(bench.row("a"))
        note(job, record)

    worker._queue.note_crashes = lose  # type: ignore[method-assign]
    worker.work()
    assert worker._jobs == []


def test_jobs_go_on_and_are_kept_while_the_database_is_away(bench: Bench) -> None:
    bench.add("unbroken")
    (expected,) = bench.finish("unbroken")
    bench.add("a")
    queue = bench.queue = Refusing(bench)
    worker = bench.trainer()
    worker.work()
    queue.refusals.update(dict.fromkeys(("has_waiting", "list_running", "beat", "release"), 10**9))
    worker.work()
    worker.work()
    worker.close()  # told to stop; the database is still away

    bench.queue = Queue(bench.store)
    following = bench.trainer()
    following._look_for_work()
    assert [running.tuning.step for running in following._jobs] == [3]
    (row,) = bench.work_off(following, "a")
    assert row.adapter_digest == expected.adapter_digest
    assert bench.losses("a") == bench.losses("unbroken")


def test_checkpoints_go_once_the_row_says_how_the_job_ended_and_no_sooner(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_job, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(settling, "TRY_AGAIN_S", 0.0)
    queue = bench.queue = Refusing(bench, settle=10**9)
    bench.add("a")
    worker = bench.trainer()
    work_until(worker, lambda: worker._settler._waiting)
    checkpoints = bench.files("a").checkpoints
    for _ in range(3):
        worker.work()
    assert any(checkpoints.iterdir())
    queue.refusals.clear()
    assert bench.work_off(worker, "a")[0].state == "ACTIVE"
    assert not checkpoints.exists()


def test_a_base_that_is_damaged_while_jobs_run_on_it_fails_none_of_them(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, make_base(tmp_path / "bases"))
    bench.add("a")
    worker = bench.trainer()
    worker.work()
    shutil.rmtree(bench.base_folder)
    assert bench.work_off(worker, "a")[0].state == "ACTIVE"
    bench.close()


def test_a_full_disk_costs_a_job_that_goes_back_its_checkpoint_and_not_its_life(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running_job, "save_checkpoint", full_disk)
    stumbles = iter([float("nan")])
    monkeypatch.setattr(Tuning, "add_loss", lambda self, share: setattr(self, "_loss", next(stumbles, share)))
    bench.add("a")
    assert bench.finish("a")[0].state == "ACTIVE"


def test_a_suspect_keeps_each_step_that_did_no_harm(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.add("a", **LONG)
    killed = bench.trainer()
    for _ in range(9):
        killed.work()
    for _ in range(6):  # killed again and again, long before a checkpoint would be due
        killed = bench.trainer()
        killed.work()
    assert bench.row("a").state == "CREATING"
    assert killed._jobs[0].tuning.step == 6


def test_a_model_that_is_deleted_while_its_weights_are_saved_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add("gone")
    bench.add("stays", seed=2)
    folder = bench.folder("gone")

    def save_or_delete(path: Path, *arguments: Any) -> str:
        if path.parent == folder and folder.exists():
            bench.store.delete_tuned_model(bench.row("gone"))
        return save_adapter(path, *arguments)

    monkeypatch.setattr(running_job, "save_adapter", save_or_delete)
    assert bench.finish("stays")[0].state == "ACTIVE"
    work_until(bench.trainers[-1], lambda: not bench.trainers[-1]._jobs)
    assert not folder.exists()


def test_tuning_goes_on_from_another_model_s_adapter(bench: Bench) -> None:
    bench.add("parent", epoch_count=10, total_steps=25, learning_rate=0.01)
    bench.finish("parent")
    bench.add("child", continues=True)
    bench.files("child").link_source(bench.files("parent"))

    (row,) = bench.finish("child")

    assert row.state == "ACTIVE"
    assert bench.losses("child")[0] < bench.losses("parent")[0] / 2


def test_a_long_step_is_no_silence(bench: Bench) -> None:
    bench.add("a")
    bench.trainer()._look_for_work()  # and then nothing, as in a step that takes long
    claimed_at = bench.beat_at("a")
    wait_until(lambda: bench.beat_at("a") > claimed_at)


def test_an_idle_trainer_gives_the_base_back_and_loads_it_for_the_next_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.add("a")
    bench.finish("a")
    worker = bench.trainers[-1]
    worker.work()
    assert worker._base is not None
    monkeypatch.setattr(trainer, "GIVE_BACK_AFTER_S", 0.0)
    worker.work()
    assert worker._base is None
    bench.add("b")
    work_until(worker, lambda: bench.row("b").state == "ACTIVE")


def test_the_speed_of_a_job_that_was_alone_is_kept(bench: Bench) -> None:
    bench.add("a")
    bench.finish("a")
    (record,) = load_speeds(bench.settings.data)
    num_tokens = (
        sum(len(question) + len(answer) for question, answer in PAIRS) - 1
    )  # bytes; "th" is one token
    assert (record.base_id, record.device, record.num_steps) == (BASE_ID, "1 thread", 5)
    assert record.num_tokens == 2 * num_tokens
    assert record.precision.startswith("compiled kernels")
    assert record.seconds > 0 and record.peak_bytes > 1e7


def test_jobs_in_company_say_nothing_about_one_alone(bench: Bench) -> None:
    bench.add("a")
    bench.add("b")
    bench.finish("a", "b")
    assert load_speeds(bench.settings.data) == []


def test_a_resumed_job_counts_what_it_did_since(bench: Bench) -> None:
    bench.add("a")
    worker = bench.trainer()
    work_until(worker, lambda: worker._jobs and worker._jobs[0].tuning.step == 2)
    worker.close()
    bench.finish("a")
    assert [record.num_steps for record in load_speeds(bench.settings.data)] == [3]


def test_a_speed_that_finds_no_room_costs_nothing_else(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    (bench.settings.data / "speeds.jsonl").mkdir()
    bench.add("a")
    (row,) = bench.finish("a")
    assert row.state == "ACTIVE"
    assert "speed is not kept" in caplog.text
