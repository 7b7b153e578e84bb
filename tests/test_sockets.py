"""Sockets that are free, and a sentence for those that are not."""

from __future__ import annotations

import socket

import pytest

from overtone.errors import OvertoneError
from overtone.sockets import bind, bind_pair


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OvertoneError, match=f"Cannot listen on 127.0.0.1:{port} .*--port"):
            bind("127.0.0.1", port)


def test_a_free_pair_has_room_for_the_grpc_door() -> None:
    with bind_pair("127.0.0.1", 0) as listener:
        bind("127.0.0.1", listener.getsockname()[1] + 1).close()


def test_a_taken_grpc_port_is_named() -> None:
    with bind_pair("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with bind("127.0.0.1", port + 1):
            listener.close()
            with pytest.raises(OvertoneError, match=f"127.0.0.1:{port + 1}, the gRPC port.*--grpc-port"):
                bind_pair("127.0.0.1", port)


def test_an_impossible_address_is_named() -> None:
    with pytest.raises(OvertoneError, match="Cannot listen on"):
        bind("127.0.0.1", 70_000)
