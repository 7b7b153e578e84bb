"""uvicorn's server, stopped by an event that is passed in instead of by signal handlers of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn


class Server(uvicorn.Server):
    """Serves until `stop` is set; then it finishes what is under way."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event):
        super().__init__(config)
        self._stop = stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process' entry."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Look for the stop, as uvicorn does ten times a second for its own."""
        self.should_exit = self.should_exit or self._stop.is_set()
        return await super().on_tick(counter)
