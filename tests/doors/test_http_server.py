"""The server under the REST door ends when it is told to, and leaves the process' signals alone."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from overtone.doors.http_server import Server
from tests.patience import HANG_S


def test_it_serves_until_told_to_stop_and_installs_no_signal_handler() -> None:
    stop = threading.Event()
    before = signal.getsignal(signal.SIGTERM)

    async def answer(request: Request) -> PlainTextResponse:
        stop.set()
        return PlainTextResponse(str(signal.getsignal(signal.SIGTERM) == before))

    async def serve_and_ask(listener: socket.socket) -> str:
        config = uvicorn.Config(Starlette(routes=[Route("/", answer)]), log_config=None)
        serving = asyncio.create_task(Server(config, stop).serve(sockets=[listener]))
        async with httpx.AsyncClient(trust_env=False, timeout=HANG_S) as client:
            reply = await client.get(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        await asyncio.wait_for(serving, HANG_S)
        return reply.text

    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert asyncio.run(serve_and_ask(listener)) == "True"
