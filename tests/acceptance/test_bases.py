"""A base that the service was not started with: tuned and asked without a restart, and given back when idle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.processes import is_alive, pids_of
from tests.patience import HANG_S, wait_until
from tests.serving import Service, running_service
from tests.tiny import BASE_ID, make_base

pytestmark = pytest.mark.slow

OTHERS = {"engine of other", "trainer of other"}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("OVERTONE_BASE_IDLE_S", "1")
    monkeypatch.setenv("OVERTONE_EXTRA_BASES", "1")
    for seed, base_id in enumerate((BASE_ID, "other", "third")):
        make_base(tmp_path / "data" / "bases", base_id, seed)
    with running_service(tmp_path / "data") as service:
        yield service


def ask(service: Service, model: str) -> str:
    """Return how a model's answer ended."""
    asked = {"contents": [{"parts": [{"text": "7"}]}], "generationConfig": {"maxOutputTokens": 4}}
    candidate = service.post(f"{model}:generateContent", asked)["candidates"][0]
    return str(candidate["finishReason"])


def tune(service: Service, base: str) -> str:
    examples = [{"textInput": str(n), "output": str(n + 1)} for n in range(12)]
    task: dict[str, Any] = {"hyperparameters": {"epochCount": 5}}
    task["trainingData"] = {"examples": {"examples": examples}}
    service.post("tunedModels", {"baseModel": base, "tuningTask": task}, tunedModelId="mine")
    return "tunedModels/mine"


def health(service: Service) -> dict[str, str]:
    engines: dict[str, str] = httpx.get(f"{service.url}/healthz", timeout=HANG_S, trust_env=False).json()[
        "engines"
    ]
    return engines


def test_another_base_is_tuned_and_asked_without_a_restart_and_given_back_when_idle(service: Service) -> None:
    own = {name: pid for name, pid in pids_of(service.process).items() if name not in OTHERS}
    tuned = tune(service, "models/other")
    wait_until(lambda: service.get(tuned)["state"] == "ACTIVE")
    assert ask(service, tuned) in ("STOP", "MAX_TOKENS")
    assert pids_of(service.process).keys() >= OTHERS
    assert health(service) == {BASE_ID: "ready", "other": "ready"}
    metrics = httpx.get(f"{service.url}/metrics", timeout=HANG_S, trust_env=False).text
    assert 'overtone_engine_computed_tokens_total{base="other",tuned_model="mine"}' in metrics

    wait_until(lambda: not OTHERS & pids_of(service.process).keys())
    wait_until(lambda: health(service) == {BASE_ID: "ready"})
    assert ask(service, tuned) in ("STOP", "MAX_TOKENS")
    assert ask(service, f"models/{BASE_ID}") in ("STOP", "MAX_TOKENS")
    assert {name: pids_of(service.process)[name] for name in own} == own


def test_a_second_base_waits_until_the_first_is_idle(service: Service) -> None:
    assert ask(service, "models/other") in ("STOP", "MAX_TOKENS")
    assert ask(service, "models/third") in ("STOP", "MAX_TOKENS")
    assert "engine of other" not in pids_of(service.process)
    assert "models/third has to wait" in service.log.read_text()


def test_another_base_s_engine_that_dies_is_started_again_and_ends_with_the_service(service: Service) -> None:
    ask(service, "models/other")
    killed = pids_of(service.process)["engine of other"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not is_alive(killed))
    assert ask(service, "models/other") in ("STOP", "MAX_TOKENS")
    pids = pids_of(service.process)
    assert pids["engine of other"] != killed
    service.process.terminate()
    service.process.wait(HANG_S)
    assert not any(map(is_alive, pids.values()))
