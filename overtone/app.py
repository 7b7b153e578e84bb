"""Builds the API, the engine and the trainer from concrete classes; no other file knows them all.

Each `run_` function is the whole life of one process, until its caller sets `stop`. Imports are inside the functions
so that the API loads no torch.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from overtone.bases.registry import Registry
from overtone.config import Settings

if TYPE_CHECKING:
    from overtone.engine.engines import Engines
    from overtone.service.access import Access
    from overtone.service.residency import Process, Residency
    from overtone.store.store import Store

log = logging.getLogger("overtone")

TRAINER_NICENESS = 5  # answers come before training on a busy core, because somebody waits for them
DATABASE_AGAIN_S = 1.0
LOOK_S = 0.5  # interval of looking which bases are wanted
FIRST_LOOK_S = 1.0  # leaves the processor to the API and the engine at the start
FINISH_STREAMS_S = 10  # time for answers in progress after the API has stopped accepting calls


@dataclass(frozen=True)
class Api:
    """What both doors need, and what must be closed at the end."""

    servicers: Mapping[str, object]
    access: Access
    store: Store
    engines: Engines

    async def close(self) -> None:
        await self.engines.close()
        self.store.close()


def build_api(settings: Settings, stop: threading.Event) -> Api | None:
    """Build the services. Opens the database now, and the connection to the engine at the first call.

    Waits if the database cannot be reached; callers meanwhile wait in the socket's queue. None if told to stop.
    """
    from overtone.doors import console
    from overtone.doors.gemini.servicers import build_servicers
    from overtone.engine.engines import Engines
    from overtone.engine.protocol import engine_address
    from overtone.jobs.queue import Queue
    from overtone.service.access import Access
    from overtone.service.models import build_models
    from overtone.service.residency import ENGINE

    registry = Registry(settings.bases, settings.base)
    store = _open_store(settings, stop)
    if store is None:
        return None
    engines = Engines(
        settings.base,
        address_of=partial(engine_address, settings),
        want=lambda base_id: store.processes.want(base_id, ENGINE),
        list_running=lambda: store.processes.list_bases(ENGINE),
    )
    access = Access(store, settings)
    models = build_models(store, registry, access, settings)
    servicers = {
        **build_servicers(store, Queue(store), models, access, engines, settings),
        **console.build_servicers(models, settings),
    }
    return Api(servicers, access, store, engines)


def run_api(settings: Settings, listener: socket.socket, stop: threading.Event) -> None:
    """Serve both doors until told to stop, then finish calls in progress. The REST door's socket is already bound.

    Raises OvertoneError if the service would be open to other machines without a key, or the gRPC port is taken.
    """
    from overtone.service.access import check_exposure

    api = build_api(settings, stop)
    if api is None:
        return
    check_exposure(settings, api.store)
    api.store.sweep_folders()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_answer(api, settings, listener, stop))


async def _answer(api: Api, settings: Settings, listener: socket.socket, stop: threading.Event) -> None:
    import uvicorn

    from overtone.doors import console, http_protocol, http_server, monitoring
    from overtone.doors.gemini import grpc_door, rest_door
    from overtone.doors.gemini.rpcs import RPCS

    http_protocol.LimitedProtocol.max_connections = http_protocol.allow_many_connections()
    authenticate = api.access.authenticate
    rpcs = (*RPCS, *console.RPCS)
    door = None
    if settings.grpc_port >= 0:
        door, _ = await grpc_door.start(api.servicers, authenticate, settings, rpcs=rpcs)
    routes = monitoring.routes(api.engines.running, authenticate)
    config = uvicorn.Config(
        rest_door.build(api.servicers, authenticate, settings, routes=routes, rpcs=rpcs),
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
        await http_server.Server(config, stop).serve(sockets=[listener])
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


def run_engine(settings: Settings, stop: threading.Event) -> None:
    """Serve the base model and its tuned models until told to stop."""
    from overtone.engine.protocol import engine_address
    from overtone.engine.server import serve

    base_folder = Registry(settings.bases, settings.base).base_folder(settings.base)
    asyncio.run(serve(settings, base_folder, engine_address(settings, settings.base), stop))


def run_trainer(settings: Settings, stop: threading.Event) -> None:
    """Claim jobs and tune them until told to stop; then save checkpoints and leave the jobs to the next trainer."""
    from overtone.jobs.queue import Queue
    from overtone.trainer import trainer

    os.nice(TRAINER_NICENESS)
    base_folder = Registry(settings.bases, settings.base).base_folder(settings.base)
    store = _open_store(settings, stop)
    if store is not None:
        trainer.run(settings, Queue(store), base_folder, stop)
        store.close()


def follow_demand(
    settings: Settings,
    list_pids: Callable[[], Mapping[Process, int]],
    publish: Callable[[Collection[Process]], None],
    stop: threading.Event,
) -> None:
    """Publish repeatedly which processes of other bases should run, until told to stop.

    While the database is away, the last published list stays, so nothing is stopped because of an outage.
    """
    from overtone.errors import ApiError, OvertoneError

    residency: Residency | None = None
    trouble = ""
    stop.wait(FIRST_LOOK_S)
    with ExitStack() as opened:
        while not stop.wait(LOOK_S):
            try:
                residency = residency or _open_residency(settings, stop, opened)
                if residency is not None:
                    publish(residency.look(list_pids()))
                trouble = ""
            except (ApiError, OvertoneError) as error:
                if trouble != str(error):
                    log.warning("No other base is started or stopped at the moment: %s", error)
                trouble = str(error)
            except Exception:
                log.exception("Cannot find out which bases are wanted")


def _open_residency(settings: Settings, stop: threading.Event, opened: ExitStack) -> Residency | None:
    from overtone.jobs.queue import Queue
    from overtone.service.residency import Residency

    store = _open_store(settings, stop)
    if store is None:
        return None
    opened.callback(store.close)
    has_base = Registry(settings.bases, settings.base).has_base
    limits = settings.extra_bases, settings.base_idle_s
    return Residency(store.processes, Queue(store), has_base, settings.base, *limits)


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
