"""The engine's process: a gRPC server, and the step loop in a thread.

It answers Status at once. Generate waits until the base is loaded.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import grpc.aio

from overtone import processor
from overtone.bases.chat import Chat
from overtone.config import Settings
from overtone.disk import make_private
from overtone.engine import protocol
from overtone.engine.call import Call, Vocabulary, wants_grammar
from overtone.engine.grammar import Grammars
from overtone.engine.loop import Engine, Item
from overtone.engine.open import open_runner
from overtone.engine.protocol import GenerateEvent, GenerateRequest, StatusReply, StatusRequest
from overtone.engine.scheduler import Limits
from overtone.errors import ApiError, FailedPrecondition, OvertoneError

log = logging.getLogger(__name__)

NUM_SLOTS = 16  # adapters in memory: about 20 MB each for the default base at rank 16
STOP_GRACE_S = 2.0
STOP_LOOK_S = 0.1
STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class EngineServicer:
    """The two methods of overtone.engine.v1.Engine."""

    def __init__(self, settings: Settings, base_folder: Path):
        self._settings = settings
        self._base_folder = base_folder
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Call, asyncio.Queue[GenerateEvent | ApiError]] = {}
        self._problem = ""
        self._thread: Thread | None = None
        self._engine: asyncio.Future[Engine] = self._loop.create_future()

    async def start(self) -> None:
        """Load the base in a thread and start the step loop. If loading fails, every caller gets the error."""
        try:
            engine = await asyncio.to_thread(self._load)
        except Exception as error:
            trace = None if isinstance(error, OvertoneError) else error
            log.error("The base in %s could not be loaded: %s", self._base_folder, error, exc_info=trace)
            self._problem = f"The base model could not be loaded: {error}"
            self._engine.set_exception(FailedPrecondition(self._problem))
            self._engine.exception()  # marks the error as retrieved: asyncio would log it again
            return
        self._thread = Thread(target=self._run, args=(engine,), name="steps")
        self._thread.start()
        self._engine.set_result(engine)

    async def stop(self) -> None:
        """Stop the step loop and wait for its thread."""
        if self._thread is not None:
            (await self._engine).stop()
            await asyncio.to_thread(self._thread.join)

    async def generate(self, request: GenerateRequest, context: Any) -> AsyncIterator[GenerateEvent]:
        """Stream the final parts of each candidate. A caller that disconnects cancels its call at once."""
        try:
            async for event in self._events(request):
                yield event
        except ApiError as error:
            log.info("Call %s ended with %s: %s", request.request_id or "-", error.code.name, error.message)
            await context.abort(STATUS_CODES[error.code.number], error.message)

    async def status(self, request: StatusRequest, context: Any) -> StatusReply:
        """Report the status at once, ready or not."""
        reply = StatusReply(
            base_id=self._base_folder.name, device=self._settings.device, problem=self._problem
        )
        if self._thread is not None:
            engine = await self._engine
            reply.ready = True
            reply.device = engine.device
            reply.running = len(engine.scheduler.running)
            reply.waiting = engine.scheduler.num_waiting
            reply.metrics = engine.metrics.to_messages(engine.scheduler)
        return reply

    async def _events(self, request: GenerateRequest) -> AsyncIterator[GenerateEvent]:
        engine = await asyncio.shield(self._engine)
        if wants_grammar(request.options):  # building a grammar takes half a second the first time
            call = await asyncio.to_thread(Call.parse, request, engine.vocabulary)
        else:
            call = Call.parse(request, engine.vocabulary)
        engine.submit(call)  # raises if the queue is full; then there is nothing to cancel
        events = self._queues[call] = asyncio.Queue()
        try:
            unfinished = len(call.candidates)
            while unfinished:
                event = await events.get()
                if isinstance(event, ApiError):
                    raise event
                unfinished -= bool(event.finish_reason)
                yield event
        finally:
            del self._queues[call]
            engine.cancel(call)

    def _load(self) -> Engine:
        settings = self._settings
        chat = Chat(self._base_folder)
        limits = Limits(max_waiting=settings.max_queue)
        runner = open_runner(
            self._base_folder, settings.device, limits.max_rows, settings.threads, settings.weights
        )
        where = processor.describe(settings.threads or processor.num_cores())
        on = where if runner.device == "cpu" else runner.device
        log.info("%s is served with %s on %s", self._base_folder.name, runner.precision, on)
        grammars = Grammars(self._base_folder, runner.config.vocab_size, chat.end_of_turn_id)
        vocabulary = Vocabulary(chat.decode, chat.eos_ids, runner.config.context_length, grammars)
        engine = Engine(runner, vocabulary, self._deliver, self._base_folder.name, limits, NUM_SLOTS)
        engine.warm_up()
        return engine

    def _run(self, engine: Engine) -> None:
        try:
            engine.run()
        except BaseException:
            log.critical("The step loop failed; the process ends, to be started again.", exc_info=True)
            os._exit(1)

    def _deliver(self, items: list[Item]) -> None:
        self._loop.call_soon_threadsafe(self._hand_out, items)

    def _hand_out(self, items: list[Item]) -> None:
        for call, event in items:
            if call in self._queues:
                self._queues[call].put_nowait(event)


async def serve(settings: Settings, base_folder: Path, address: str, stop: Event) -> None:
    """Serve one base at a gRPC target (`unix:/…` or `host:port`) until told to stop."""
    async with running_server(settings, base_folder, address):
        while not stop.is_set():
            await asyncio.sleep(STOP_LOOK_S)


@asynccontextmanager
async def running_server(settings: Settings, base_folder: Path, address: str) -> AsyncIterator[None]:
    """Serve while the block runs; then give calls in progress a moment to end."""
    _prepare_socket(address)
    servicer = EngineServicer(settings, base_folder)
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((_handlers(servicer),))
    server.add_insecure_port(address)
    await server.start()
    loading = asyncio.create_task(servicer.start())
    try:
        yield
    finally:
        await server.stop(STOP_GRACE_S)
        await loading
        await servicer.stop()


def _handlers(servicer: EngineServicer) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        protocol.SERVICE,
        {
            "Generate": grpc.unary_stream_rpc_method_handler(
                servicer.generate, GenerateRequest.deserialize, GenerateEvent.serialize
            ),
            "Status": grpc.unary_unary_rpc_method_handler(
                servicer.status, StatusRequest.deserialize, StatusReply.serialize
            ),
        },
    )


def _prepare_socket(address: str) -> None:
    """Create the socket's folder, private to this user, and remove the socket of a killed engine."""
    if not address.startswith("unix:"):
        return
    path = Path(address.removeprefix("unix:"))
    make_private(path.parent)
    if path.parent.stat().st_uid != os.getuid():
        raise OvertoneError(f"{path.parent} belongs to another user; no engine is started there.")
    path.unlink(missing_ok=True)
