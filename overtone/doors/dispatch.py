"""From a row of the table to the servicer's method: what both doors call, and in which thread.

A method takes the request message and the caller. It touches the database, so it runs in a thread, after
authentication and in the same one. Where the answer takes longer, it returns a coroutine function, or for a
row that streams an asynchronous generator, with which the event loop goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from overtone.doors.method import Method
from overtone.errors import ApiError, Code, FailedPrecondition, OvertoneError, Unimplemented
from overtone.service.access import Credentials

log = logging.getLogger(__name__)

T = TypeVar("T")
Authenticate = Callable[[Credentials], Any]
Later = Callable[[], Awaitable[T]]


def method_of(rpc: Method, servicers: Mapping[str, object]) -> Any:
    """Return the servicer's method for this row.

    Raises KeyError or AttributeError when the table promises what no servicer has: at start, not at a call.
    """
    return _refusal(rpc) if rpc.instead else getattr(servicers[rpc.service], rpc.attribute)


def _refusal(rpc: Method) -> Any:
    def refuse(request: Any, caller: Any) -> Any:
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
