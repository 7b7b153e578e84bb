"""The sockets on which a service listens, bound before its processes start."""

from __future__ import annotations

import socket

from overtone.errors import OvertoneError

PAIR_ATTEMPTS = 50


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Port 0 picks a free one. Raises OvertoneError with the reason."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise OvertoneError(
            f"Cannot listen on {host}:{port} ({getattr(error, 'strerror', None) or error}); "
            "choose another port with --port; 0 picks a free one."
        ) from error
    listener.listen(1024)
    return listener


def bind_pair(host: str, port: int) -> socket.socket:
    """Return a listening socket whose next port is free for gRPC. Port 0 looks for such a pair."""
    for _ in range(PAIR_ATTEMPTS if port == 0 else 1):
        listener = bind(host, port)
        try:
            bind(host, listener.getsockname()[1] + 1).close()
        except OvertoneError:
            listener.close()
            continue
        return listener
    raise OvertoneError(
        f"Cannot listen on {host}:{port + 1}, the gRPC port; choose another port with --grpc-port; -1 turns gRPC off."
    )
