"""From a row of the table to the servicer's method: what both doors call, whatever kind of function it is.

A method takes the request message and the caller. A plain one touches the database and runs in a thread; a
coroutine or an asynchronous generator (for a row that streams) runs in the event loop.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from overtone.errors import ApiError, Code, FailedPrecondition, OvertoneError, Unimplemented
from overtone.wire.credentials import Credentials
from overtone.wire.messages import Message
from overtone.wire.rpcs import Rpc

log = logging.getLogger(__name__)

Authenticate = Callable[[Credentials], Any]
Unary = Callable[[Message, Any], Awaitable[Message]]
Streaming = Callable[[Message, Any], AsyncIterator[Message]]


def method_of(rpc: Rpc, servicers: Mapping[str, object]) -> Any:
    """Return the servicer's method for this row: a coroutine function or an asynchronous generator's.

    Raises KeyError or AttributeError when the table promises what no servicer has: at start, not at a call.
    """
    if rpc.instead:
        return _refusal(rpc)
    method = getattr(servicers[rpc.service], rpc.attribute)
    if rpc.streams or inspect.iscoroutinefunction(method):
        return method

    async def in_thread(request: Message, caller: Any) -> Any:
        return await asyncio.to_thread(method, request, caller)

    return in_thread


def _refusal(rpc: Rpc) -> Any:
    async def refuse(request: Message, caller: Any) -> Any:
        raise Unimplemented(rpc.instead)

    return refuse


def to_api_error(error: BaseException) -> ApiError:
    """Return what the caller may hear.

    An unforeseen error is logged with its traceback and told as INTERNAL.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, OvertoneError):  # a damaged file, a full disk: the operator's to mend
        log.error("%s", error)
        return FailedPrecondition(str(error))
    log.error("Unforeseen error in a request", exc_info=error)
    return ApiError("An internal error has occurred. The service's log has the details.", code=Code.INTERNAL)
