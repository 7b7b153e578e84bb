"""The API's client of an engine: sends requests, receives events and errors. No torch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

import grpc
import grpc.aio

from overtone.engine import protocol
from overtone.engine.protocol import GenerateEvent, GenerateRequest, StatusReply, StatusRequest
from overtone.errors import ApiError, Code

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),  # connect quickly to an engine that is still starting
    ("grpc.max_reconnect_backoff_ms", 1000),
]


class EngineClient:
    """A connection to one engine, opened at the first use inside a running event loop."""

    def __init__(self, address: str):
        self.address = address

    async def generate(
        self, request: GenerateRequest, timeout_s: float | None = None
    ) -> AsyncIterator[GenerateEvent]:
        """Yield the engine's events. Waits while the engine starts. Closing early cancels the call there.

        Raises ApiError with the engine's code, or DEADLINE_EXCEEDED after `timeout_s`.
        """
        stream = self._generate(request, timeout=timeout_s, wait_for_ready=True)
        try:
            async for event in stream:
                yield event
        except grpc.aio.AioRpcError as error:
            raise _to_api_error(error, timeout_s) from None
        finally:
            stream.cancel()

    async def status(self, timeout_s: float = 5.0) -> StatusReply:
        """Return the engine's status. Raises ApiError with UNAVAILABLE if it does not answer."""
        try:
            reply: StatusReply = await self._status(StatusRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise _to_api_error(error, timeout_s) from None
        return reply

    async def close(self) -> None:
        """Close the connection. Calls in progress are cancelled."""
        if "_channel" in self.__dict__:
            await self._channel.close()

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self.address, OPTIONS)

    @cached_property
    def _generate(self) -> Any:
        return self._channel.unary_stream(
            protocol.GENERATE, GenerateRequest.serialize, GenerateEvent.deserialize
        )

    @cached_property
    def _status(self) -> Any:
        return self._channel.unary_unary(protocol.STATUS, StatusRequest.serialize, StatusReply.deserialize)


def _to_api_error(error: grpc.aio.AioRpcError, timeout_s: float | None) -> ApiError:
    code = Code.from_number(error.code().value[0])
    message = error.details() or "The engine gave no reason."
    if code is Code.DEADLINE_EXCEEDED:
        message = f"The answer was not finished within {timeout_s:g} s."
    if code is Code.UNAVAILABLE:
        message = "The engine is not running at the moment; it is being started again."
    return ApiError(message, code=code)
