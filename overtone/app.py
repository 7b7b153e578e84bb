"""Builds the API, the engine and the trainer from concrete classes; no other file knows them all.

Each `run_` function is the whole life of one process. Imports are inside the functions so that the API loads no torch.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overtone.bases.registry import Registry
from overtone.config import Settings

if TYPE_CHECKING:
    from overtone.engine.client import EngineClient
    from overtone.service.access import Access
    from overtone.store.store import Store

log = logging.getLogger("overtone")

TRAINER_NICENESS = 5  # answers come before training on a busy core, because somebody waits for them
DATABASE_AGAIN_S = 1.0
FINISH_STREAMS_S = 10  # time for answers in progress after the API has stopped accepting calls


@dataclass(frozen=True)
class Api:
    """What both doors need, and what must be closed at the end."""

    servicers: Mapping[str, object]
    access: Access
    store: Store
    engines: Mapping[str, EngineClient]

    async def close(self) -> None:
        for engine in self.engines.values():
            await engine.close()
        self.store.close()


def build_api(settings: Settings) -> Api:
    """Build the services. Opens the database now, and the connection to the engine at the first call.

    Waits if the database cannot be reached; callers meanwhile wait in the socket's queue.
    """
    from overtone.doors.gemini.servicers import build_servicers
    from overtone.engine.client import EngineClient
    from overtone.engine.protocol import engine_address
    from overtone.jobs.queue import Queue
    from overtone.service.access import Access

    registry = Registry(settings.bases, settings.base)
    store = _open_store(settings, threading.Event())
    assert store is not None  # only a signal stops this wait, and it ends the process
    engines = {settings.base: EngineClient(engine_address(settings))}
    servicers = build_servicers(store, Queue(store), registry, engines, settings)
    return Api(servicers, Access(store, settings), store, engines)


def run_api(settings: Settings, listener: socket.socket) -> None:
    """Serve both doors until SIGTERM, then finish calls in progress. The REST door's socket is already bound.

    Raises OvertoneError if the service would be open to other machines without a key, or the gRPC port is taken.
    """
    from overtone.service.access import check_exposure

    api = build_api(settings)
    check_exposure(settings, api.store)
    api.store.sweep_folders()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_answer(api, settings, listener))


async def _answer(api: Api, settings: Settings, listener: socket.socket) -> None:
    import uvicorn

    from overtone.doors import http_protocol, monitoring
    from overtone.doors.gemini import grpc_door, rest_door

    http_protocol.LimitedProtocol.max_connections = http_protocol.allow_many_connections()
    authenticate = api.access.authenticate
    door = None
    if settings.grpc_port >= 0:
        door, _ = await grpc_door.start(api.servicers, authenticate, settings)
    routes = monitoring.routes(api.engines, authenticate)
    config = uvicorn.Config(
        rest_door.build(api.servicers, authenticate, settings, routes=routes),
        http=http_protocol.LimitedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=FINISH_STREAMS_S,
        server_header=False,
        ssl_certfile=settings.tls_cert or None,
        ssl_keyfile=settings.tls_key or None,
    )
    try:
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        if door:
            await door.stop(grace=FINISH_STREAMS_S)
        await api.close()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # it does not exist for every platform
        return None
    return uvloop.new_event_loop


def run_engine(settings: Settings) -> None:
    """Serve the base model and its tuned models until SIGTERM."""
    from overtone.engine.protocol import engine_address
    from overtone.engine.server import serve

    base_folder = Registry(settings.bases, settings.base).base_folder(settings.base)
    asyncio.run(serve(settings, base_folder, engine_address(settings)))


def run_trainer(settings: Settings) -> None:
    """Claim jobs and tune them until SIGTERM; then save checkpoints and leave the jobs to the next trainer."""
    from overtone.jobs.queue import Queue
    from overtone.trainer import trainer

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.nice(TRAINER_NICENESS)
    base_folder = Registry(settings.bases, settings.base).base_folder(settings.base)
    store = _open_store(settings, stop)
    if store is not None:
        trainer.run(settings, Queue(store), base_folder, stop)
        store.close()


def _open_store(settings: Settings, stop: threading.Event) -> Store | None:
    """Open the store, waiting for its database if necessary; None if told to stop meanwhile."""
    from overtone.errors import Unavailable
    from overtone.store.store import Store

    said = ""
    while not stop.is_set():
        try:
            return Store(settings.database_url, settings.tuned)
        except Unavailable as error:
            if said != str(error):
                log.warning("%s This process waits for it. %s", error, getattr(error.__cause__, "orig", ""))
            said = str(error)
            stop.wait(DATABASE_AGAIN_S)
    return None
