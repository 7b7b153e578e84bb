"""The gRPC door by itself: TLS, sizes, what is refused."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from overtone.cli.certificate import make_self_signed
from overtone.config import Settings
from overtone.doors.gemini import grpc_door, rpcs
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.errors import UNKNOWN_KEY
from overtone.doors.gemini.messages import encode
from overtone.doors.gemini.rpcs import VERSIONS, Rpc
from overtone.errors import OvertoneError
from overtone.service.access import Credentials, UnknownKey
from tests.patience import HANG_S

RPCS = (
    Rpc("S", "GetTunedModel", m.GetTunedModelRequest, m.TunedModel, "GET", ()),
    Rpc("S", "StreamGenerateContent", m.GenerateContentRequest, m.GenerateContentResponse, "POST", (),
        streams=True),
    Rpc("S", "EmbedContent", m.Empty, m.Empty, "POST", (), instead="No embeddings."),
)  # fmt: skip
GET = "/google.ai.generativelanguage.v1beta.S/GetTunedModel"
STREAM = "/google.ai.generativelanguage.v1beta.S/StreamGenerateContent"


class Echo:
    def __init__(self) -> None:
        self.callers: list[Credentials] = []
        self.open_streams = 0
        self.closed = asyncio.Event()

    def get_tuned_model(self, request: m.GetTunedModelRequest, caller: Credentials) -> m.TunedModel:
        self.callers.append(caller)
        if request.name == "bad":
            raise UnknownKey
        if request.name == "broken":
            raise RuntimeError("secret detail")
        return m.TunedModel(name=request.name[:10])

    async def stream_generate_content(
        self, request: Any, caller: Any
    ) -> AsyncIterator[m.GenerateContentResponse]:
        self.open_streams += 1
        try:
            while True:
                yield m.GenerateContentResponse(model_version="v")
                await asyncio.sleep(0.001)
        finally:
            self.open_streams -= 1
            self.closed.set()


@asynccontextmanager
async def door(echo: Echo, settings: Settings, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
    server, port = await grpc_door.start({"S": echo}, lambda presented: presented, settings, 0, RPCS)
    limits = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
    if "roots" in options:
        trust = grpc.ssl_channel_credentials(options["roots"])
        channel = grpc.aio.secure_channel(f"localhost:{port}", trust, limits)
    else:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", limits)
    async with channel:
        yield channel
    await server.stop(None)


async def get(channel: grpc.aio.Channel, name: str, metadata: Any = ()) -> m.TunedModel:
    call: Any = channel.unary_unary(GET, encode, m.TunedModel.deserialize)
    return await call(m.GetTunedModelRequest(name=name), metadata=metadata, timeout=HANG_S)


async def refusal(call: Callable[[], Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call()
    return caught.value


def test_credentials_come_from_the_metadata() -> None:
    async def scenario() -> None:
        echo = Echo()
        async with door(echo, Settings()) as channel:
            await get(channel, "a", (("x-goog-api-key", "K"), ("authorization", "Bearer T")))
        assert replace(echo.callers[0], host="") == Credentials(key="K", bearer="T")

    asyncio.run(scenario())


def test_every_version_has_every_method() -> None:
    async def scenario() -> None:
        async with door(Echo(), Settings()) as channel:
            for version in VERSIONS:
                path = GET.replace("v1beta", version)
                call: Any = channel.unary_unary(path, encode, m.TunedModel.deserialize)
                assert (await call(m.GetTunedModelRequest(name="a"), timeout=HANG_S)).name == "a"

    asyncio.run(scenario())


def test_tls_works_with_the_pair_that_we_make(tmp_path: Path) -> None:
    async def scenario() -> None:
        cert, key = make_self_signed(tmp_path)
        settings = Settings(tls_cert=str(cert), tls_key=str(key))
        async with door(Echo(), settings, roots=cert.read_bytes()) as channel:
            assert (await get(channel, "a")).name == "a"
        assert key.stat().st_mode & 0o077 == 0

    asyncio.run(scenario())


def test_an_error_carries_code_sentence_and_details() -> None:
    async def scenario() -> None:
        async with door(Echo(), Settings()) as channel:
            error = await refusal(lambda: get(channel, "bad"))
        assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, UNKNOWN_KEY)
        assert b"API_KEY_INVALID" in dict(error.trailing_metadata())[grpc_door.STATUS_DETAILS]

    asyncio.run(scenario())


def test_an_unforeseen_error_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with door(Echo(), Settings()) as channel:
            error = await refusal(lambda: get(channel, "broken"))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in (error.details() or "")

    asyncio.run(scenario())
    assert "secret detail" in caplog.text


def test_a_message_larger_than_grpcs_default_is_taken_up_to_our_limit() -> None:
    async def scenario() -> None:
        async with door(Echo(), Settings(max_body_mb=6)) as channel:
            assert (await get(channel, "x" * 5 * 2**20)).name == "x" * 10
            error = await refusal(lambda: get(channel, "x" * 7 * 2**20))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("EmbedContent", grpc.StatusCode.UNIMPLEMENTED),
        ("Nothing", grpc.StatusCode.UNIMPLEMENTED),
        ("GetTunedModel", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_cannot_be_answered_has_a_code(method: str, code: grpc.StatusCode) -> None:
    async def scenario() -> None:
        async with door(Echo(), Settings()) as channel:
            call: Any = channel.unary_unary(f"{GET.rpartition('/')[0]}/{method}")
            error = await refusal(lambda: call(b"\xff\xff not a message", timeout=HANG_S))
        assert error.code() is code

    asyncio.run(scenario())


def messages_within(kind: Descriptor, found: dict[str, Descriptor]) -> dict[str, Descriptor]:
    """Add a message and all inside it."""
    if kind.full_name not in found:
        found[kind.full_name] = kind
        for field in kind.fields:
            if field.message_type is not None:
                messages_within(field.message_type, found)
    return found


OTHERS = {
    "TuningExamples.multiturn_examples",  # refused by name: service.rules
    "VideoMetadata.video_duration",  # no base here sees a video
}  # fields of other versions that v1beta's messages lack or call otherwise


@pytest.mark.parametrize("version", VERSIONS)
def test_the_messages_of_every_version_are_the_same_on_the_wire(version: str) -> None:
    importlib.import_module(f"google.ai.generativelanguage_{version}")
    served: dict[str, Descriptor] = {}
    for kind in {kind for rpc in rpcs.RPCS for kind in (rpc.request, rpc.reply)}:
        messages_within(m.descriptor_of(kind), served)
    for name, ours in served.items():
        for theirs in fields_under(name.replace("v1beta", version)):
            if f"{theirs.containing_type.name}.{theirs.name}" not in OTHERS:
                same = ours.fields_by_number[theirs.number]
                assert (same.name, same.type, same.is_repeated) == (
                    theirs.name,
                    theirs.type,
                    theirs.is_repeated,
                )


def fields_under(name: str) -> Sequence[FieldDescriptor]:
    """Return a message's fields, none if the version lacks it."""
    try:
        return descriptor_pool.Default().FindMessageTypeByName(name).fields
    except KeyError:
        return ()


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("v1beta.FileService/ListFiles", "Files are not supported"),
        ("v1alpha.CacheService/CreateCachedContent", "Cached contents are not supported"),
        ("v1beta2.DiscussService/GenerateMessage", "generateContent"),
        ("v1beta3.TextService/EmbedText", "Embeddings are not supported"),
        ("v1.ModelService/Nothing", "Method not found!"),
    ],
)
def test_what_is_elsewhere_says_what_to_use_instead(method: str, says: str) -> None:
    async def scenario() -> None:
        async with door(Echo(), Settings()) as channel:
            call: Any = channel.unary_unary(f"/google.ai.generativelanguage.{method}")
            error = await refusal(lambda: call(b"", timeout=HANG_S))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert says in (error.details() or "")

    asyncio.run(scenario())


def test_a_client_that_leaves_a_stream_ends_it() -> None:
    async def scenario() -> None:
        echo = Echo()
        async with door(echo, Settings()) as channel:
            call: Any = channel.unary_stream(STREAM, encode, m.GenerateContentResponse.deserialize)
            stream = call(m.GenerateContentRequest())
            assert (await stream.read()).model_version == "v"
            stream.cancel()
            await asyncio.wait_for(echo.closed.wait(), HANG_S)
        assert echo.open_streams == 0

    asyncio.run(scenario())


def test_a_port_that_is_taken_is_said_plainly() -> None:
    async def scenario() -> None:
        server, port = await grpc_door.start({"S": Echo()}, print, Settings(), 0, RPCS)
        with pytest.raises(OvertoneError, match=f"cannot listen on 127.0.0.1:{port}"):
            await grpc_door.start({"S": Echo()}, print, Settings(), port, RPCS)
        await server.stop(None)

    asyncio.run(scenario())


def test_a_missing_certificate_is_said_plainly(tmp_path: Path) -> None:
    settings = Settings(tls_cert=str(tmp_path / "none.pem"), tls_key=str(tmp_path / "none.pem"))
    with pytest.raises(OvertoneError, match=r"none\.pem cannot be read"):
        asyncio.run(grpc_door.start({"S": Echo()}, print, settings, 0, RPCS))
