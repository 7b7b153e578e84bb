"""What strangers may send and hold: heads, bodies and connections have limits, told in the shape of every error."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from overtone.doors import http_protocol
from overtone.doors.http_protocol import (
    MOST_CONNECTIONS,
    RESERVED_FILES,
    LimitedProtocol,
    allow_many_connections,
)
from tests.patience import HANG_S

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n"


async def echo(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


class Server:
    """An app behind the protocol, in a thread."""

    def __init__(self) -> None:
        app = Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._server = uvicorn.Server(uvicorn.Config(app, http=LimitedProtocol, log_config=None))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})
        self._thread.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=HANG_S)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.3)
    monkeypatch.setattr(http_protocol, "BODY_CHECK_S", 0.3)
    running = Server()
    yield running
    running.close()


def read_all(connection: socket.socket) -> bytes:
    """Return what arrives until the other side hangs up."""
    pieces = []
    try:
        while piece := connection.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def error_in(answer: bytes) -> dict[str, object]:
    error: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    return error


@pytest.mark.parametrize("head", [b"a: " + b"x" * 100_000, b"GET /" + b"x" * 100_000])
def test_a_head_that_is_too_large_is_refused(server: Server, head: bytes) -> None:
    with server.connect() as connection:
        request = head if head.startswith(b"GET") else GET + head
        connection.sendall(request + (b" HTTP/1.1\r\n" if request is head else b"\r\n") + b"\r\n")
        error = error_in(read_all(connection))
    assert error["status"] == "INVALID_ARGUMENT"
    assert "more than 65536 bytes" in str(error["message"])


def test_a_head_without_an_end_is_not_read_for_ever(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(GET + b"a: ")
        sent = 0
        try:
            while sent < 64 << 20:
                sent += connection.send(b"x" * 65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < 32 << 20


def test_too_many_headers_are_refused_with_their_number(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(GET + b"".join(b"h%d: 1\r\n" % n for n in range(200)) + b"\r\n")
        error = error_in(read_all(connection))
    assert error["message"] == "The request has 201 headers; the limit is 100."


@pytest.mark.parametrize("beginning", [b"", GET])
def test_whoever_does_not_finish_a_head_is_hung_up_on(server: Server, beginning: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(beginning)
        assert error_in(read_all(connection))["status"] == "DEADLINE_EXCEEDED"


def test_whoever_stalls_in_a_body_is_hung_up_on(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\nx")
        assert read_all(connection) == b""


def test_a_body_that_arrives_slowly_but_steadily_is_taken(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 12000\r\nconnection: close\r\n\r\n"
        )
        for _ in range(12):
            connection.sendall(b"x" * 1000)
            time.sleep(0.05)
        assert read_all(connection).endswith(b"\r\n\r\n12000")


def test_an_idle_connection_makes_room_for_a_new_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "max_connections", 2)
    monkeypatch.setattr(http_protocol, "HEAD_S", HANG_S)
    idle = [server.connect() for _ in range(2)]
    for connection in idle:
        connection.sendall(GET + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    with server.connect() as third:
        third.sendall(GET + b"\r\n")
        assert third.recv(65536).startswith(b"HTTP/1.1 200")
    assert idle[0].recv(1) == b""  # the longest idle
    for connection in idle:
        connection.close()


def test_the_limit_of_open_files_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))  # whatever it was before
    try:
        allowed = allow_many_connections()
        raised, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert raised in (hard, MOST_CONNECTIONS + RESERVED_FILES)
        assert 0 < allowed < raised
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
