"""Health and metrics, with engines that are up, loading, broken or away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from overtone.doors.monitoring import StatusEngine, routes
from overtone.engine.protocol import Metric, Sample, StatusReply
from overtone.errors import PermissionDenied, Unavailable
from overtone.service.access import Credentials


class Answering:
    def __init__(self, reply: StatusReply):
        self.reply = reply

    async def status(self, timeout_s: float) -> StatusReply:
        return self.reply


class Away:
    async def status(self, timeout_s: float) -> StatusReply:
        raise Unavailable("The engine is away.")


def anyone(presented: Credentials) -> None:
    pass


def only_with_a_key(presented: Credentials) -> None:
    if presented.bearer != "the-key":
        raise PermissionDenied("Who are you?")


def running(engines: Mapping[str, StatusEngine]) -> Callable[[], Awaitable[Mapping[str, StatusEngine]]]:
    async def list_engines() -> Mapping[str, StatusEngine]:
        return engines

    return list_engines


def client(engine: StatusEngine, authenticate=anyone) -> TestClient:  # type: ignore[no-untyped-def]
    return TestClient(Starlette(routes=routes(running({"base": engine}), authenticate)))


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Answering(StatusReply(ready=True)), "ready"),
        (Answering(StatusReply()), "loading"),
        (Answering(StatusReply(problem="The file is damaged.")), "The file is damaged."),
        (Away(), "away"),
    ],
)
def test_health_says_how_each_engine_is(engine: StatusEngine, said: str) -> None:
    assert client(engine).get("/healthz").json() == {"api": "ready", "engines": {"base": said}}


def test_metrics_are_those_of_the_engines() -> None:
    running = Metric(name="overtone_engine_running", help="Now.", kind="gauge", samples=[Sample(value=3)])
    answer = client(Answering(StatusReply(ready=True, metrics=[running]))).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'overtone_engine_up{base="base"} 1' in answer.text.splitlines()
    assert 'overtone_engine_running{base="base"} 3' in answer.text.splitlines()


def test_metrics_of_several_engines_are_one_family_told_apart_by_their_base() -> None:
    def engine(value: float) -> StatusEngine:
        sample = Sample(labels={"tuned_model": "a"}, value=value)
        metric = Metric(name="overtone_engine_tokens", help="All.", kind="counter", samples=[sample])
        return Answering(StatusReply(ready=True, metrics=[metric]))

    engines = {"one": engine(1), "two": engine(2)}
    watcher = TestClient(Starlette(routes=routes(running(engines), anyone)))
    lines = [line for line in watcher.get("/metrics").text.splitlines() if "overtone_engine_tokens" in line]
    assert lines == [
        "# HELP overtone_engine_tokens All.",
        "# TYPE overtone_engine_tokens counter",
        'overtone_engine_tokens{base="one",tuned_model="a"} 1',
        'overtone_engine_tokens{base="two",tuned_model="a"} 2',
    ]


def test_an_engine_that_is_away_is_down_in_the_metrics() -> None:
    assert 'overtone_engine_up{base="base"} 0' in client(Away()).get("/metrics").text


def test_metrics_name_models_and_so_want_a_key() -> None:
    watcher = client(Away(), only_with_a_key)
    assert watcher.get("/metrics").status_code == 403
    assert watcher.get("/metrics", headers={"authorization": "Bearer the-key"}).status_code == 200
    assert watcher.get("/healthz").status_code == 200
