"""Another family of methods than Gemini's: rows with their own package and path, through the same two doors."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import proto
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.doors.gemini import grpc_door, rest_door
from overtone.doors.gemini.rpcs import RPCS
from overtone.doors.method import Method, MethodFamily

OWN = MethodFamily("overtone.console.{version}", ("v1",), path="overtone/{version}")


class EchoRequest(proto.Message):
    """Says a word."""

    word = proto.Field(proto.STRING, number=1)


class EchoReply(proto.Message):
    """Says it again."""

    word = proto.Field(proto.STRING, number=1)


class Echoes:
    def echo(self, request: EchoRequest, caller: Any) -> EchoReply:
        """Say the word again."""
        return EchoReply(word=request.word)


ECHO = Method("Echoes", "Echo", EchoRequest, EchoReply, "GET", ("{word=echoes/*}",), family=OWN)


class Anything:
    """A servicer of every method."""

    def __getattr__(self, name: str) -> Any:
        return lambda request, caller: None


SERVICERS = {"Echoes": Echoes(), **{rpc.service: Anything() for rpc in RPCS}}


def anyone(presented: Any) -> None:
    return None


def test_a_row_of_another_family_answers_under_its_own_path_over_rest() -> None:
    http = TestClient(rest_door.build(SERVICERS, anyone, Settings(), rpcs=(*RPCS, ECHO)))
    assert http.get("/overtone/v1/echoes/hello").json() == {"word": "echoes/hello"}
    assert http.get("/v1beta/echoes/hello").status_code == 404
    assert "/overtone/v1/echoes/{echoesId}" in http.get("/openapi.json").json()["paths"]
    assert "echoes" not in http.get("/$discovery/rest").json()["resources"]


def test_a_row_of_another_family_answers_in_its_own_package_over_grpc() -> None:
    async def scenario() -> EchoReply:
        server, port = await grpc_door.start(SERVICERS, anyone, Settings(), 0, rpcs=(*RPCS, ECHO))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(
                "/overtone.console.v1.Echoes/Echo", EchoRequest.serialize, EchoReply.deserialize
            )
            reply: EchoReply = await call(EchoRequest(word="hello"))
        await server.stop(None)
        return reply

    assert asyncio.run(scenario()).word == "hello"
