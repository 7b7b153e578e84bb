"""Answers as they are made: a JSON array, server-sent events, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.doors.gemini import rest_door
from overtone.errors import ApiError, Code, ResourceExhausted
from overtone.service.access import Access
from tests.doors.gemini.fakes import EchoEngine
from tests.patience import HANG_S

ASK = {"contents": [{"parts": [{"text": "a b é"}]}]}
URL = "/v1beta/models/tiny:streamGenerateContent"


def texts(chunks: list[Any]) -> list[str]:
    return [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks]


def test_a_stream_is_every_piece_in_order(client: Any) -> None:
    chunks = client.post(URL, json=ASK).json()
    assert texts(chunks) == ["a ", "b ", "é ", ""]
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None, None, None, "STOP"]
    assert chunks[-1]["usageMetadata"]["candidatesTokenCount"] == 4


def test_without_sse_a_stream_begins_and_ends_with_a_bracket(rest: TestClient) -> None:
    reply = rest.post(URL, json=ASK)
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    assert (reply.text[0], reply.text[-1]) == ("[", "]")


def test_with_sse_every_line_is_an_event_of_json(rest: TestClient) -> None:
    reply = rest.post(f"{URL}?alt=sse", json=ASK)
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = reply.text.removesuffix("\r\n\r\n").split("\r\n\r\n")
    assert all(event.startswith("data: {") and "\n" not in event for event in events)
    assert texts([json.loads(event.removeprefix("data: ")) for event in events]) == ["a ", "b ", "é ", ""]


@pytest.mark.parametrize("query", ["?alt=sse", "?$alt=json;enum-encoding=int"])
def test_what_fails_before_the_first_piece_is_an_ordinary_error(rest: TestClient, query: str) -> None:
    reply = rest.post(f"/v1/tunedModels/nope:streamGenerateContent{query}", json=ASK)
    assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_who_reads_an_array_finds_the_error_in_one(rest: TestClient) -> None:
    reply = rest.post("/v1/tunedModels/nope:streamGenerateContent", json=ASK)
    assert reply.status_code == 404
    assert [item["error"]["status"] for item in reply.json()] == ["NOT_FOUND"]


def test_a_full_queue_says_when_to_come_again(rest: TestClient, engine: EchoEngine) -> None:
    engine.error = ResourceExhausted("256 calls are waiting.")
    reply = rest.post(URL, json={"contents": [{"parts": [{"text": "one"}]}]})
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")


def test_what_fails_later_is_the_last_event(rest: TestClient, engine: EchoEngine) -> None:
    engine.error = ApiError("The engine is away.", code=Code.UNAVAILABLE)
    events = rest.post(f"{URL}?alt=sse", json=ASK).text.removesuffix("\r\n\r\n").split("\r\n\r\n")
    error = json.loads(events[-1].removeprefix("data: "))["error"]
    assert (len(events), error["code"], error["message"]) == (3, 503, "The engine is away.")


def test_what_fails_later_is_the_last_item_of_the_array(rest: TestClient, engine: EchoEngine) -> None:
    engine.error = RuntimeError("secret")
    assert rest.post(URL, json=ASK).json()[-1]["error"]["status"] == "INTERNAL"


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent"])
@pytest.mark.parametrize("pieces_before", [0, 1])
def test_a_client_that_goes_away_frees_its_place(
    servicers: Mapping[str, object],
    access: Access,
    settings: Settings,
    engine: EchoEngine,
    method: str,
    pieces_before: int,
) -> None:
    app = rest_door.build(servicers, access.authenticate, settings)
    engine.hold_after = pieces_before

    async def scenario() -> None:
        gone = asyncio.Event()
        messages = [{"type": "http.request", "body": json.dumps(ASK).encode(), "more_body": False}]

        async def receive() -> dict[str, Any]:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Mapping[str, Any]) -> None:
            pass

        path = f"/v1/models/tiny:{method}"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "POST",
            "path": path,
            "root_path": "",
            "query_string": b"",
            "headers": [],
        }
        call = asyncio.ensure_future(app(scope, receive, send))
        while not engine.holds:
            await asyncio.sleep(0.001)
        gone.set()
        await asyncio.wait_for(call, HANG_S)

    asyncio.run(scenario())
    assert (engine.holds, engine.open_calls) == (True, 0)
