"""A trainer that is killed in the middle of a job, for real."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.acceptance.processes import pids_of
from tests.patience import wait_until
from tests.serving import Service, running_service
from tests.tiny import make_base

pytestmark = pytest.mark.slow
EXAMPLES = [{"textInput": str(n), "output": str(n + 1)} for n in range(12)]
TASK = {"hyperparameters": {"epochCount": 100}, "trainingData": {"examples": {"examples": EXAMPLES}}}
BODY = {"baseModel": "models/gemini-1.5-flash-001-tuning", "tuningTask": TASK}


def tune(service: Service, tuned_model_id: str) -> str:
    service.post("tunedModels", BODY, tunedModelId=tuned_model_id)
    return f"tunedModels/{tuned_model_id}"


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
