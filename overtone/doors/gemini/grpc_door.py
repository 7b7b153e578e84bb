"""The gRPC door: every row of the table as a generic handler, on the same servicers as the REST door.

No generated stubs: a row says which service, method and messages. Reflection and health are not offered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import any_pb2, json_format
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from overtone.config import Settings
from overtone.doors import credentials, dispatch
from overtone.doors.gemini import elsewhere
from overtone.doors.gemini.errors import tell
from overtone.doors.gemini.messages import Message, decoder_of, encode
from overtone.doors.gemini.rpcs import RPCS
from overtone.doors.method import Method
from overtone.errors import InvalidArgument, OvertoneError, Unimplemented
from overtone.service.access import Credentials

log = logging.getLogger(__name__)
HANDSHAKE_MS = 20_000  # who has not said that it speaks gRPC by then is hung up on
STATUS_DETAILS = "grpc-status-details-bin"


async def start(
    servicers: Mapping[str, object],
    authenticate: dispatch.Authenticate,
    settings: Settings,
    port: int | None = None,
    rpcs: Sequence[Method] = RPCS,
) -> tuple[grpc.aio.Server, int]:
    """Listen on the gRPC port and answer; return the server and the port. With a certificate, only over TLS.

    Raises OvertoneError when the port is taken or the certificate cannot be read.
    """
    options = [
        ("grpc.max_receive_message_length", settings.max_body_mb * 2**20),
        ("grpc.so_reuseport", 0),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers(_handlers(servicers, authenticate, rpcs))
    wanted = port if port is not None else settings.grpc_port or settings.port + 1
    try:
        bound = _listen(server, f"{_in_brackets(settings.host)}:{wanted}", settings)
    except RuntimeError as error:
        raise OvertoneError(f"The gRPC door cannot listen on {settings.host}:{wanted}: {error}.") from None
    await server.start()
    return server, bound


def _listen(server: grpc.aio.Server, address: str, settings: Settings) -> int:
    if not settings.tls_cert:
        return server.add_insecure_port(address)
    pair = (_read(settings.tls_key), _read(settings.tls_cert))
    return server.add_secure_port(address, grpc.ssl_server_credentials([pair]))


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OvertoneError(f"{path} cannot be read: {error.strerror}.") from None


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _handlers(
    servicers: Mapping[str, object], authenticate: dispatch.Authenticate, rpcs: Sequence[Method]
) -> list[grpc.GenericRpcHandler]:
    services: dict[str, dict[str, grpc.RpcMethodHandler]] = defaultdict(dict)
    for rpc in rpcs:
        handler = _handler(_Endpoint(rpc, servicers, authenticate))
        for service in rpc.full_services:
            services[service][rpc.method] = handler
    known = [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
    return [*known, _Elsewhere()]


def _handler(endpoint: _Endpoint) -> grpc.RpcMethodHandler:
    if endpoint.rpc.streams:
        return grpc.unary_stream_rpc_method_handler(endpoint.stream, response_serializer=encode)
    return grpc.unary_unary_rpc_method_handler(endpoint.answer, response_serializer=encode)


class _Elsewhere(grpc.GenericRpcHandler):
    """Says what to use instead of the methods of the Gemini API that are not here."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        sentence = elsewhere.find_called(handler_call_details.method)
        if not sentence:
            return None

        async def refuse(request: bytes, context: grpc.aio.ServicerContext) -> None:
            await _abort(context, Unimplemented(sentence))

        return grpc.unary_unary_rpc_method_handler(refuse)


class _Endpoint:
    """One row of the table as gRPC behaviour. Requests are decoded here: a bad one is told like any other."""

    def __init__(self, rpc: Method, servicers: Mapping[str, object], authenticate: dispatch.Authenticate):
        self.rpc = rpc
        self.method = dispatch.method_of(rpc, servicers)
        self.authenticate = authenticate
        self.decode = decoder_of(rpc.request)

    async def answer(self, request: bytes, context: grpc.aio.ServicerContext) -> Message:
        try:
            reply = await self.begin(request, context)
            return await reply() if callable(reply) else reply
        except Exception as error:
            await _abort(context, error)
            raise

    async def stream(self, request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[Message]:
        try:
            async with aclosing(await self.begin(request, context)) as replies:
                async for reply in replies:
                    yield reply
        except Exception as error:
            await _abort(context, error)

    async def begin(self, request: bytes, context: grpc.aio.ServicerContext) -> Any:
        """Return the method's answer, or what the event loop is to go on with (doors.dispatch)."""
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        return await asyncio.to_thread(self.call, request, credentials.from_headers(metadata))

    def call(self, request: bytes, presented: Credentials) -> Any:
        caller = self.authenticate(presented)
        return self.method(self.parse(request), caller)

    def parse(self, request: bytes) -> Message:
        if self.rpc.instead:
            return self.rpc.request()
        try:
            return self.decode(request)
        except DecodeError as error:
            raise InvalidArgument(f"The request is not a {self.rpc.method} message: {error}.") from None


async def _abort(context: grpc.aio.ServicerContext, error: BaseException) -> None:
    """End the call with the error's code, sentence and details, where clients of Google's look for them."""
    told = tell(error)
    code = next(code for code in grpc.StatusCode if code.value[0] == told.code.number)
    trailing = []
    if told.details:
        status = status_pb2.Status(code=told.code.number, message=told.message)
        status.details.extend(_to_any(dict(detail)) for detail in told.details)
        trailing.append((STATUS_DETAILS, status.SerializeToString()))
    await context.abort(code, told.message, tuple(trailing))


def _to_any(detail: dict[str, Any]) -> any_pb2.Any:
    kind = getattr(error_details_pb2, detail.pop("@type").rpartition(".")[2])
    packed = any_pb2.Any()
    packed.Pack(json_format.ParseDict(detail, kind()))
    return packed
