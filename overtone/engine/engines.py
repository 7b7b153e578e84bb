"""The engines that one host's API calls: the service's own, and one for each other base that is in use.

The own engine always runs. Any other runs while it is wanted: a call records that before it begins and every few
seconds while it lasts, and waits in the connection until the engine runs (service/residency.py decides).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from overtone.engine.client import EngineClient
from overtone.engine.protocol import GenerateEvent, GenerateRequest
from overtone.errors import ApiError

WANT_EVERY_S = 2.0
LIST_TIMEOUT_S = 2.0

log = logging.getLogger(__name__)


class Engines:
    """Connections to engines by base id, opened when they are first needed."""

    def __init__(
        self,
        own_base: str,
        address_of: Callable[[str], str],
        want: Callable[[str], None],
        list_running: Callable[[], Iterable[str]],
    ):
        """`want` records that a base's engine is wanted; `list_running` lists them. Both may raise ApiError."""
        self._own_base = own_base
        self._address_of = address_of
        self._want = want
        self._list_running = list_running
        self._clients = {own_base: EngineClient(address_of(own_base))}

    def of(self, base_id: str) -> EngineClient:
        """Return the connection to a base's engine, whether it runs or not. Thread-safe."""
        client = self._clients.get(base_id)
        if client is None:
            client = self._clients.setdefault(base_id, self._make(base_id))
        return client

    async def running(self) -> dict[str, EngineClient]:
        """Return the own engine and those of the bases in memory, from the database.

        If the database does not answer soon, return the engines that were used before.
        """
        try:
            running = await asyncio.wait_for(asyncio.to_thread(self._list_running), LIST_TIMEOUT_S)
        except (ApiError, TimeoutError):
            return dict(self._clients)
        others = sorted(set(running) - {self._own_base})
        return {base_id: self.of(base_id) for base_id in (self._own_base, *others)}

    async def close(self) -> None:
        """Close the connections. Calls in progress are cancelled."""
        for client in self._clients.values():
            await client.close()

    def _make(self, base_id: str) -> EngineClient:
        return WantedEngineClient(self._address_of(base_id), lambda: self._want(base_id))


class WantedEngineClient(EngineClient):
    """A connection to an engine that runs only while it is wanted."""

    def __init__(self, address: str, want: Callable[[], None]):
        super().__init__(address)
        self._want = want
        self._wanted_at = float("-inf")

    async def generate(
        self, request: GenerateRequest, timeout_s: float | None = None
    ) -> AsyncGenerator[GenerateEvent]:
        """Yield the engine's events, and keep the engine wanted until the last one."""
        wanting = asyncio.create_task(self._keep_wanted())
        try:
            async with aclosing(super().generate(request, timeout_s)) as events:
                async for event in events:
                    yield event
        finally:
            wanting.cancel()

    async def _keep_wanted(self) -> None:
        """Record every few seconds, for all calls together, that the engine is wanted."""
        while True:
            if time.monotonic() - self._wanted_at >= WANT_EVERY_S:
                self._wanted_at = time.monotonic()
                await asyncio.to_thread(self._say_wanted)
            await asyncio.sleep(WANT_EVERY_S / 4)

    def _say_wanted(self) -> None:
        try:
            self._want()
        except ApiError as error:  # an engine that is running still answers
            log.warning("Cannot record that an engine is wanted: %s", error)
