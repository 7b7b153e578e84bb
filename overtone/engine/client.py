"""The API's client of an engine: sends requests, receives events and errors. No torch."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cached_property
from typing import Any

import grpc
import grpc.aio

from overtone.domain.generation import GenerationOptions, Piece, TokenLogprobs, TopToken
from overtone.engine import protocol
from overtone.engine.protocol import (
    GenerateEvent,
    GenerateRequest,
    SamplingOptions,
    StatusReply,
    StatusRequest,
)
from overtone.engine.request import EngineRequest
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

    async def answer(self, request: EngineRequest, timeout_s: float | None = None) -> AsyncGenerator[Piece]:
        """Yield the final parts of each candidate. Raises as `generate` does."""
        async with aclosing(self.generate(to_message(request), timeout_s)) as events:
            async for event in events:
                yield to_piece(event)

    async def generate(
        self, request: GenerateRequest, timeout_s: float | None = None
    ) -> AsyncGenerator[GenerateEvent]:
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


def to_message(request: EngineRequest) -> GenerateRequest:
    """Return a request as a message of the engine's protocol."""
    bare = GenerateRequest.pb()(
        request_id=request.request_id,
        tuned_model=request.tuned_model,
        prompt_ids=request.prompt_ids,
        options=_to_options(request.options),
    )
    if request.adapter is not None:
        bare.adapter_folder = str(request.adapter.folder)
        bare.adapter_digest = request.adapter.digest
    message: GenerateRequest = GenerateRequest.wrap(bare)
    return message


def _to_options(options: GenerationOptions) -> Any:
    bare = SamplingOptions.pb()(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        max_tokens=options.max_tokens,
        stop=options.stop,
        num_candidates=options.num_candidates,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        json_mode=options.json_mode,
        choices=options.choices,
    )
    if options.schema is not None:
        bare.response_schema = json.dumps(options.schema)
    if options.seed is not None:
        bare.seed = options.seed
    if options.logprobs is not None:
        bare.logprobs = options.logprobs
    return bare


def to_piece(event: GenerateEvent) -> Piece:
    """Return a message of the engine's protocol as the domain's event."""
    bare = GenerateEvent.pb(event)  # the plain message: this runs for every token of every stream
    return Piece(
        index=bare.index,
        text=bare.text,
        num_tokens=bare.candidate_tokens,
        finish_reason=bare.finish_reason,
        avg_logprob=bare.avg_logprob,
        logprobs=tuple(map(_to_logprobs, bare.logprobs)),
    )


def _to_logprobs(place: Any) -> TokenLogprobs:
    top = tuple(TopToken(other.token, other.token_id, other.logprob) for other in place.top)
    return TokenLogprobs(place.token, place.token_id, place.logprob, top)


def _to_api_error(error: grpc.aio.AioRpcError, timeout_s: float | None) -> ApiError:
    code = Code.from_number(error.code().value[0])
    message = error.details() or "The engine gave no reason."
    if code is Code.DEADLINE_EXCEEDED:
        message = f"The answer was not finished within {timeout_s:g} s."
    if code is Code.UNAVAILABLE:
        message = "The engine is not running at the moment; it is being started again."
    return ApiError(message, code=code)
