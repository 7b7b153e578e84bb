"""Threads that run one compiled function together, phase by phase.

In each phase the threads claim tasks from a shared counter and go on when all tasks are done, so a thread that
the system has put aside holds up nobody. `counters` is the address of [phase, 8] int64, zero before: tasks
claimed, tasks done, and the rest of a cache line.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import cache
from inspect import signature
from threading import Semaphore, Thread
from typing import Any, TypeVar

from llvmlite import ir
from numba import types
from numba.core import cgutils

from overtone.kernels.llvm import I32, I64, intrinsic, returning
from overtone.kernels.views import compiled

T = TypeVar("T")

SPINS = 2000  # reads of a counter before the core is offered to others


def _emit_fetch_add(builder: ir.IRBuilder, address: ir.Value, amount: ir.Value) -> ir.Value:
    return builder.atomic_rmw("add", builder.inttoptr(address, I64.as_pointer()), amount, "seq_cst")


def _emit_load_acquire(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.load_atomic(builder.inttoptr(address, I64.as_pointer()), "acquire", 8)


def _emit_yield(builder: ir.IRBuilder) -> ir.Value:
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(I32, []), "sched_yield")
    return builder.call(function, [])


@intrinsic
def fetch_add(context: Any, address: Any, amount: Any) -> Any:
    """Add to a counter and return what it was: no two threads get the same."""
    return types.int64(types.int64, types.int64), returning(_emit_fetch_add)


@intrinsic
def load_acquire(context: Any, address: Any) -> Any:
    """Read a word that another thread may write."""
    return types.int64(types.int64), returning(_emit_load_acquire)


@intrinsic
def yield_core(context: Any) -> Any:
    """Let another thread have the core (sched_yield)."""
    return types.int32(), returning(_emit_yield)


@compiled
def claim_tasks(counters: int, phase: int, count: int) -> int:
    """Claim the next `count` tasks of a phase; return the first of them, which may lie beyond the last."""
    return fetch_add(counters + 64 * phase, count)


@compiled
def finish_tasks(counters: int, phase: int, count: int) -> None:
    """Report tasks as done."""
    fetch_add(counters + 64 * phase + 8, count)


@compiled
def wait_until_done(counters: int, phase: int, total: int) -> None:
    """Return when all tasks of a phase are done.

    Not when all threads are here: one that the system keeps from running holds up nobody but in the middle of a task.
    """
    spins = 0
    while load_acquire(counters + 64 * phase + 8) < total:
        spins += 1
        if spins > SPINS:
            yield_core()


@compiled
def tasks_at_once(total: int, num_threads: int) -> int:
    """Return how many tasks to claim at once: each thread claims about six times."""
    return max(1, total // (6 * num_threads))


def phase(num_tasks: str, many: bool = False) -> Callable[[Callable[..., None]], Any]:
    """Make a phase of one task, whose number is the last argument of the decorated function.

        @phase("num_rows", many=True)
        def clear_rows(run, num_rows, row): ...

    makes `clear_rows(run, num_rows, phase)`, which every thread calls: they claim the tasks 0 … num_rows - 1,
    one at a time or (`many`) several, and all of them are done when it returns the number of the next phase.
    `num_tasks` is an expression over the arguments and the module's names. The argument called run, step or update has
    the `counters` and, for many, `num_threads`.
    """

    def decorate(body: Callable[..., None]) -> Any:
        *names, _ = signature(body).parameters
        team = next(name for name in names if name in ("run", "step", "update"))
        source = PHASE.format(
            name=body.__name__,
            arguments=", ".join(names),
            num_tasks=num_tasks,
            counters=f"{team}.counters",
            size=f"tasks_at_once(total, {team}.num_threads)" if many else "1",
        )
        made: dict[str, Any] = {}
        exec(source, body.__globals__, made)
        function = made["make"](compiled(body), claim_tasks, finish_tasks, wait_until_done, tasks_at_once)
        function.__doc__ = body.__doc__
        return compiled(function)

    return decorate


PHASE = """
def make(body, claim_tasks, finish_tasks, wait_until_done, tasks_at_once):
    def {name}({arguments}, phase):
        total = {num_tasks}
        size = {size}
        first = claim_tasks({counters}, phase, size)
        while first < total:
            last = min(first + size, total)
            for task in range(first, last):
                body({arguments}, task)
            finish_tasks({counters}, phase, last - first)
            first = claim_tasks({counters}, phase, size)
        wait_until_done({counters}, phase, total)
        return phase + 1
    return {name}
"""


class Team:
    """Threads that run one compiled function together, the caller among them."""

    LAG = 2  # calls that a helper may be behind: it finds their work done and passes through

    def __init__(self, num_threads: int):
        self.num_threads = num_threads
        self._inboxes: list[queue.SimpleQueue[tuple[Any, ...]]] = []
        self._places: list[Semaphore] = []
        for number in range(1, num_threads):
            self._inboxes.append(queue.SimpleQueue())
            self._places.append(Semaphore(self.LAG))
            Thread(target=self._serve, args=(number,), name=f"kernel-{number}", daemon=True).start()

    def run(self, function: Callable[..., T], *arguments: Any, memory: object) -> T:
        """Call function(thread, *arguments) in every thread; return what the caller's own call does.

        A helper may come late; `memory` is kept until it is through as well.
        """
        for inbox, place in zip(self._inboxes, self._places, strict=True):
            place.acquire()
            inbox.put((function, arguments, memory))
        return function(0, *arguments)

    def _serve(self, number: int) -> None:
        while True:
            function, arguments, memory = self._inboxes[number - 1].get()
            function(number, *arguments)
            del memory
            self._places[number - 1].release()


@cache
def shared_team(num_threads: int) -> Team:
    """Return the process' own team of so many threads."""
    return Team(num_threads)
