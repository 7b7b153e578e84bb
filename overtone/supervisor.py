"""Starts, watches, restarts and stops the processes of one service. It does not know what they do.

It asks repeatedly which processes are wanted, and stops one that is no longer wanted in the same way as at the end.

The supervisor's process holds what must outlive a child: the data folder's lock (lock.py) and the listening socket
(sockets.py). While the API restarts, callers wait in the socket's queue instead of being refused. Each child holds
the reading end of a pipe, and only the supervisor holds the writing end. When the supervisor dies in any way, the
pipe closes and the children end.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

log = logging.getLogger("overtone.serve")

CANNOT_START = 78  # EX_CONFIG in sysexits.h: the child has logged the reason, and a restart would not help
WATCH_S = 0.1
STEADY_S = 60.0  # after this long, a child restarts with the shortest pause
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0


@dataclass
class Child:
    """A process to keep alive. Children are stopped in the order of their list, each within `patience_s`."""

    name: str
    arguments: Sequence[str]
    patience_s: float
    pass_fds: tuple[int, ...] = ()
    delay_s: float = 0.0  # before its first start, so that the others get the processor first
    process: subprocess.Popen[bytes] | None = None
    pause_s: float = FIRST_PAUSE_S
    started_at: float = 0.0
    due_at: float = 0.0
    kill_at: float | None = None  # when to kill it, after it was told to stop


@dataclass
class Supervisor:
    """Keeps the children alive until `stop` is called or one of them cannot start.

    `wanted` returns the children to keep alive, identified by name. It is called ten times a second and must neither
    wait nor raise.
    """

    wanted: Callable[[], Sequence[Child]]
    environ: Mapping[str, str]
    _children: dict[str, Child] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _hurry: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._lifeline, self._held_end = os.pipe()

    def run(self) -> int:
        """Start the children and keep them alive. Returns the service's exit status."""
        try:
            while not self._stop.is_set():
                self._follow(self.wanted())
                for child in list(self._children.values()):
                    if not self._watch(child):
                        return 1
                self._stop.wait(WATCH_S)
            return 0
        finally:
            self._stop_all()

    def pids(self) -> dict[str, int]:
        """Return the ids of the running processes by name. Thread-safe."""
        running = [(name, child.process) for name, child in list(self._children.items())]
        return {name: process.pid for name, process in running if process is not None}

    def stop(self) -> None:
        """Stop everything in order. Idempotent, and safe in a signal handler."""
        self._stop.set()

    def interrupt(self) -> None:
        """Stop everything in order; if it is already stopping, at once. Safe in a signal handler."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _follow(self, wanted: Sequence[Child]) -> None:
        """Add new children, and stop those that are no longer wanted."""
        names = {child.name for child in wanted}
        for child in wanted:
            if child.name not in self._children:
                child.due_at = time.monotonic() + child.delay_s
                self._children[child.name] = child
        for child in self._children.values():
            if child.name not in names and child.kill_at is None:
                child.kill_at = time.monotonic() + child.patience_s
                if child.process:
                    child.process.terminate()

    def _watch(self, child: Child) -> bool:
        """Start the child when it is due. Returns False if it has reported that it cannot start."""
        status = child.process.poll() if child.process else None
        if child.kill_at is not None:
            self._see_off(child, status)
            return True
        if status == CANNOT_START:
            return False
        if status is not None:
            self._mourn(child, status)
        if child.process is None and time.monotonic() >= child.due_at:
            self._start(child)
        return True

    def _see_off(self, child: Child, status: int | None) -> None:
        """Forget a child that was told to stop once it has ended. If it is wanted again, it then starts anew."""
        assert child.kill_at is not None
        if child.process is None or status is not None:
            log.debug("%s has stopped", child.name)
            del self._children[child.name]
        elif time.monotonic() >= child.kill_at:
            log.warning("%s did not stop in time; killing it", child.name)
            child.process.kill()
            child.kill_at = float("inf")

    def _start(self, child: Child) -> None:
        child.process = subprocess.Popen(
            [*child.arguments, "--lifeline", str(self._lifeline)],
            env=dict(self.environ),
            pass_fds=(*child.pass_fds, self._lifeline),
            start_new_session=True,  # only the supervisor handles Ctrl-C
        )
        child.started_at = time.monotonic()
        log.debug("%s is process %d", child.name, child.process.pid)

    def _mourn(self, child: Child, status: int) -> None:
        now = time.monotonic()
        if now - child.started_at > STEADY_S:
            child.pause_s = FIRST_PAUSE_S
        log.warning("%s %s; it starts again in %g s", child.name, describe(status), child.pause_s)
        child.process, child.due_at = None, now + child.pause_s
        child.pause_s = min(2 * child.pause_s, LONGEST_PAUSE_S)

    def _stop_all(self) -> None:
        for child in self._children.values():
            if child.process and child.process.poll() is None:
                log.debug("stopping %s", child.name)
                child.process.terminate()
                self._wait(child.process, child.patience_s)
        for child in self._children.values():
            if child.process and child.process.poll() is None:
                log.warning("%s did not stop in time; killing it", child.name)
                child.process.kill()
                child.process.wait()
        os.close(self._held_end)
        os.close(self._lifeline)

    def _wait(self, process: subprocess.Popen[bytes], patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while process.poll() is None and time.monotonic() < deadline and not self._hurry.is_set():
            time.sleep(WATCH_S / 2)


def describe(status: int) -> str:
    """Return an exit status in words: `was killed by SIGKILL` or `ended with status 1`."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def watch_lifeline(fd: int, grace_s: float = 20.0) -> None:
    """In a child: end this process when the supervisor is gone, by SIGTERM first, after `grace_s` by force."""

    def wait() -> None:
        os.read(fd, 1)  # returns when the writing end is closed
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(1)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def command_of(*verb: str) -> list[str]:
    """Return the command line that runs one of our verbs with this Python interpreter."""
    return [sys.executable, "-m", "overtone", *verb]
