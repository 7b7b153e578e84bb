"""uvicorn's HTTP/1.1 with limits on what anyone may send or hold before it is known who it is.

uvicorn takes heads of any size, at a cost that grows with their square, and waits for ever for the rest of one. Here
a head has a size, a number of lines and a time to arrive in, a body a lowest speed, and the connections a highest
number: above it the one that has been idle for longest makes room. Bodies are measured by the REST door.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from overtone.doors.http_errors import HTTP_STATUS, error_value
from overtone.errors import Code

MAX_HEAD_BYTES = 64 << 10
MAX_HEADER_LINES = 100
HEAD_S = 20.0  # from the first byte of a connection or a request to the end of its head
BODY_CHECK_S, MIN_BODY_BYTES = 10.0, 1000  # a body of which less arrives between two looks has stalled
RESERVED_FILES = 256  # of those that a process may open: database, sockets of the engine, adapters
MOST_CONNECTIONS = 10_000


class _Refused(Exception):
    """The request's head is over a limit."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    max_connections = MOST_CONNECTIONS

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0  # of the head that is arriving; -1: it has arrived
        self._body_bytes = 0  # since the last look
        self._idle_since = 0.0
        self._reason = "Invalid HTTP request received."

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self.max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_timer(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        self._head_bytes = -1
        if size > MAX_HEAD_BYTES:
            self._reason = f"The request's head has more than {MAX_HEAD_BYTES} bytes."
            raise _Refused
        if len(self.headers) > MAX_HEADER_LINES:
            self._reason = f"The request has {len(self.headers)} headers; the limit is {MAX_HEADER_LINES}."
            raise _Refused
        self._body_bytes = MIN_BODY_BYTES
        self._set_timer(BODY_CHECK_S)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._set_timer(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._idle_since = time.monotonic()
        super().on_response_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing for a WebSocket: its answer says what to use instead, and no library is missing."""

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as a request in the shape of every other error, and hang up."""
        self._answer(Code.INVALID_ARGUMENT, self._reason)

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._idle_since = time.monotonic()
        self._set_timer(HEAD_S)

    def _refuse_head(self) -> None:
        self._reason = f"The request's head has more than {MAX_HEAD_BYTES} bytes."
        self.send_400_response("")

    def _look(self) -> None:
        """Hang up on a head that does not end and a body that hardly arrives, unless it is us who do not read."""
        if self._head_bytes >= 0:
            self._answer(Code.DEADLINE_EXCEEDED, f"The request's head did not arrive within {HEAD_S:g} s.")
        elif self._body_bytes < MIN_BODY_BYTES and not self.flow.read_paused:
            self.transport.abort()
        else:
            self._body_bytes = 0
            self._set_timer(BODY_CHECK_S)

    def _make_room(self) -> None:
        """Hang up on whoever has been idle for longest; when nobody is, on this one."""
        others = [
            other for other in self.connections if isinstance(other, LimitedProtocol) and other is not self
        ]
        idle = [other for other in others if other._is_idle]
        if idle:
            min(idle, key=lambda other: other._idle_since).transport.close()
        else:
            self._answer(
                Code.UNAVAILABLE, "The service has too many connections. Try again in a few seconds."
            )

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._look)

    def _answer(self, code: Code, message: str) -> None:
        body = json.dumps(error_value(code, message)).encode()
        head = (
            f"HTTP/1.1 {HTTP_STATUS[code]} {code.name}\r\ncontent-type: application/json; charset=UTF-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def allow_many_connections() -> int:
    """Raise this process' limit of open files as far as it may; return how many connections that leaves room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + RESERVED_FILES
    files = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(files - RESERVED_FILES, files // 2)
