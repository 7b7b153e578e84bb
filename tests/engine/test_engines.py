"""Which engine answers for a base, and how it is kept while it is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from overtone.engine import engines
from overtone.engine.client import EngineClient
from overtone.engine.engines import Engines
from overtone.engine.protocol import GenerateEvent, GenerateRequest
from overtone.errors import Unavailable


class Wanted(list[str]):
    """The bases that were wanted, and those that run."""

    def __init__(self) -> None:
        self.running: list[str] | None = []

    def list_running(self) -> list[str]:
        if self.running is None:
            raise Unavailable("The database does not answer.")
        return self.running


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> Wanted:
    async def three_events(
        self: EngineClient, request: GenerateRequest, timeout_s: float | None = None
    ) -> AsyncGenerator[GenerateEvent]:
        for _ in range(3):
            await asyncio.sleep(0.05)
            yield GenerateEvent(text=self.address)

    monkeypatch.setattr(EngineClient, "generate", three_events)
    monkeypatch.setattr(engines, "WANT_EVERY_S", 0.02)
    return Wanted()


def engines_of(wanted: Wanted) -> Engines:
    return Engines("own", lambda base_id: f"unix:/{base_id}", wanted.append, wanted.list_running)


def ask(found: Engines, base_id: str) -> list[str]:
    async def texts() -> list[str]:
        async with aclosing(found.of(base_id).generate(GenerateRequest())) as events:
            return [event.text async for event in events]

    return asyncio.run(texts())


def test_each_base_has_an_engine_of_its_own(wanted: Wanted) -> None:
    found = engines_of(wanted)
    assert ask(found, "a") == ["unix:/a"] * 3
    assert ask(found, "own") == ["unix:/own"] * 3
    assert found.of("a") is found.of("a")


def test_another_base_is_wanted_again_and_again_while_a_call_lasts_and_the_own_never(wanted: Wanted) -> None:
    ask(engines_of(wanted), "own")
    assert wanted == []
    ask(engines_of(wanted), "a")
    assert len(wanted) >= 2 and set(wanted) == {"a"}


def test_calls_together_want_an_engine_no_oftener_than_one(
    wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "WANT_EVERY_S", 600.0)
    found = engines_of(wanted)
    for _ in range(5):
        ask(found, "a")
    assert wanted == ["a"]


def test_a_running_engine_answers_though_it_cannot_be_noted_that_it_is_wanted(wanted: Wanted) -> None:
    def refuse(base_id: str) -> None:
        raise Unavailable("The database does not answer.")

    found = Engines("own", lambda base_id: f"unix:/{base_id}", refuse, wanted.list_running)
    assert len(ask(found, "a")) == 3


def test_the_engines_that_run_are_those_that_the_database_knows_and_the_own(wanted: Wanted) -> None:
    found = engines_of(wanted)
    found.of("asked-and-stopped")
    wanted.running = ["b", "own"]
    assert list(asyncio.run(found.running())) == ["own", "b"]
    wanted.running = None
    assert list(asyncio.run(found.running())) == ["own", "asked-and-stopped", "b"]
