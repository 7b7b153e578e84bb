"""The one file that knows concrete classes: what the API, the engine and the trainer are made of.

Each `run_` is the whole life of one process. Imports stand inside the functions: the API loads no torch.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from overtone.config import Settings
from overtone.model.registry import Registry

if TYPE_CHECKING:
    from starlette.applications import Starlette

log = logging.getLogger("overtone")

FINISH_STREAMS_S = 10  # how long answers under way may go on after the API has stopped accepting


def build_api(settings: Settings) -> Starlette:
    """Return the API as an ASGI application. It opens the database now, the engine at the first call."""
    from overtone.engine.client import EngineClient
    from overtone.engine.protocol import engine_address
    from overtone.jobs.queue import Queue
    from overtone.service.access import Access
    from overtone.service.chats import Chats
    from overtone.service.services import build_servicers
    from overtone.store.store import Store
    from overtone.wire import rest_door

    registry = Registry(settings.bases, settings.base)
    store = Store(settings.database_url, settings.tuned)
    engine = EngineClient(engine_address(settings))
    servicers = build_servicers(
        store, Queue(store), registry, Chats(registry), {settings.base: engine}, settings
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(store.sweep_folders)
        yield
        await engine.close()
        store.close()

    return rest_door.build(servicers, Access(store, settings).authenticate, settings, lifespan=lifespan)


def run_api(settings: Settings, listener: socket.socket) -> None:
    """Serve the API on a socket that is bound already, until SIGTERM; then finish what is under way."""
    import uvicorn

    config = uvicorn.Config(
        build_api(settings),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=FINISH_STREAMS_S,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


def run_engine(settings: Settings) -> None:
    """Serve the base model and every tuned model on it, until SIGTERM."""
    from overtone.engine.protocol import engine_address
    from overtone.engine.server import serve

    base_folder = Registry(settings.bases, settings.base).base_folder(settings.base)
    asyncio.run(serve(settings, base_folder, engine_address(settings)))


def run_trainer(settings: Settings) -> None:
    """Claim jobs and tune them, until SIGTERM; then checkpoint, and leave the jobs to the next trainer."""
    from overtone.jobs import trainer
    from overtone.jobs.queue import Queue
    from overtone.store.store import Store

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    base_folder = Registry(settings.bases, settings.base).base_folder(settings.base)
    store = Store(settings.database_url, settings.tuned)
    trainer.run(settings, Queue(store), base_folder, stop)
    store.close()
