"""A trainer that is killed in the middle of a job, for real."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.acceptance.processes import is_alive, pids_of
from tests.patience import wait_until
from tests.serving import Service, running_service
from tests.tiny import make_base

pytestmark = pytest.mark.slow


def tune(service: Service, tuned_model_id: str, step: int = 1) -> str:
    """Create a tuned model that counts in such steps."""
    examples = [{"textInput": str(n), "output": str(n + step)} for n in range(12)]
    task = {"hyperparameters": {"epochCount": 100}, "trainingData": {"examples": {"examples": examples}}}
    body = {"baseModel": "models/gemini-1.5-flash-001-tuning", "tuningTask": task}
    service.post("tunedModels", body, tunedModelId=tuned_model_id)
    return f"tunedModels/{tuned_model_id}"


def num_steps(service: Service, name: str) -> int:
    return len(service.get(name)["tuningTask"].get("snapshots", []))


def wait_for_steps(service: Service, names: list[str], more: int) -> None:
    """Wait until these models have, together, so many steps more."""
    enough = more + sum(num_steps(service, name) for name in names)
    wait_until(lambda: sum(num_steps(service, name) for name in names) >= enough)


def kill_trainer(service: Service) -> None:
    """Kill it as soon as there is one, and wait until it is gone."""
    wait_until(lambda: "trainer" in pids_of(service.process))
    pid = pids_of(service.process)["trainer"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def ended(service: Service, names: list[str]) -> list[str]:
    """Wait until all of these are made, or have failed; return their states."""
    wait_until(lambda: all(service.get(name)["state"] != "CREATING" for name in names))
    return [service.get(name)["state"] for name in names]


def weights(service: Service, tuned_model_id: str) -> bytes:
    (folder,) = (service.data / "tuned").glob(f"{tuned_model_id}.*")
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_job_whose_trainer_was_killed_ends_with_the_weights_it_would_have_had(tmp_path: Path) -> None:
    make_base(tmp_path / "data" / "bases")
    with running_service(tmp_path / "data") as service:
        killed = tune(service, "killed")
        wait_until(lambda: len(service.get(killed)["tuningTask"].get("snapshots", [])) > 20)
        os.kill(pids_of(service.process)["trainer"], signal.SIGKILL)
        wait_until(lambda: service.get(killed)["state"] == "ACTIVE")
        left_alone = tune(service, "left-alone")
        wait_until(lambda: service.get(left_alone)["state"] == "ACTIVE")
        snapshots = [service.get(name)["tuningTask"]["snapshots"] for name in (killed, left_alone)]
        steps, losses = ([[row[name] for row in rows] for rows in snapshots] for name in ("step", "meanLoss"))
        assert steps[0] == list(range(1, 301))
        assert losses[0] == losses[1]
        assert weights(service, "killed") == weights(service, "left-alone")


def test_three_jobs_whose_trainer_is_killed_again_and_again_end_as_if_undisturbed(tmp_path: Path) -> None:
    make_base(tmp_path / "data" / "bases")
    with running_service(tmp_path / "data") as service:
        names = [tune(service, f"killed-{step}", step) for step in (1, 2, 3)]
        for _ in range(5):
            wait_for_steps(service, names, 20)
            kill_trainer(service)
        assert ended(service, names) == ["ACTIVE"] * 3
        undisturbed = [tune(service, f"undisturbed-{step}", step) for step in (1, 2, 3)]
        assert ended(service, undisturbed) == ["ACTIVE"] * 3
        for step in (1, 2, 3):
            assert weights(service, f"killed-{step}") == weights(service, f"undisturbed-{step}")


def test_jobs_end_though_their_trainer_is_killed_faster_than_it_can_work(tmp_path: Path) -> None:
    make_base(tmp_path / "data" / "bases")
    with running_service(tmp_path / "data") as service:
        names = [tune(service, f"killed-{step}", step) for step in (1, 2, 3)]
        for _ in range(6):
            kill_trainer(service)
        assert ended(service, names) == ["ACTIVE"] * 3
