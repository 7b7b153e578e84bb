"""The step loop: one thread owns the scheduler and the runner, and receives requests through an inbox.

An error in one call (a damaged adapter, for example) ends that call; the others continue.
"""

from __future__ import annotations

import logging
import math
import queue
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from overtone.engine.cache import BlockCache
from overtone.engine.call import Call, Candidate, Vocabulary
from overtone.engine.metrics import Metrics
from overtone.engine.protocol import GenerateEvent
from overtone.engine.runner import Runner
from overtone.engine.scheduler import Chunk, Limits, Scheduler, Sequence
from overtone.engine.slots import AdapterSlots
from overtone.errors import ApiError, Code, FailedPrecondition, OvertoneError
from overtone.model.adapter import load_adapter

log = logging.getLogger(__name__)

NOT_FINITE = "The tuned model holds or computes numbers that are not finite: its tuning ran away."
BASE_NOT_FINITE = "The base model computes numbers that are not finite: its files are damaged, pull it again."

Item = tuple[Call, GenerateEvent | ApiError]
Deliver = Callable[[list[Item]], None]


class Engine:
    """Generates for many calls at once. Any thread may call `submit`, `cancel` and `stop`."""

    def __init__(
        self,
        runner: Runner,
        vocabulary: Vocabulary,
        deliver: Deliver,
        base_id: str,
        limits: Limits,
        num_slots: int,
    ):
        self.vocabulary = vocabulary
        self.metrics = Metrics()
        self._runner = runner
        self._deliver = deliver
        self._base_id = base_id
        self.scheduler = Scheduler(
            BlockCache(runner.num_blocks, runner.block_size), AdapterSlots(num_slots), limits
        )
        self._num_submitted = self._num_admitted = 0  # each is written by one thread only
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._outbox: list[Item] = []
        self._candidates: dict[Sequence, tuple[Call, Candidate]] = {}
        self._loader = ThreadPoolExecutor(1, "adapters")
        self._loading: dict[str, Future[Any]] = {}
        self._ready: dict[str, Any] = {}  # loaded adapters that wait for a slot

    @property
    def device(self) -> str:
        return self._runner.device

    def warm_up(self) -> None:
        """Compute one token now, so that the first caller does not wait for one-time initialisation."""
        sequence = Sequence(0, "", [0])
        self.scheduler.admit(sequence)
        self._runner.step(self.scheduler.schedule(), [0])
        self.scheduler.finish(sequence)

    def submit(self, call: Call) -> None:
        """Queue a call. Raises ResourceExhausted if too many are waiting."""
        arriving = self._num_submitted - self._num_admitted
        self.scheduler.require_room(arriving + len(call.candidates))
        self._num_submitted += len(call.candidates)
        self._inbox.put(partial(self._admit, call))

    def cancel(self, call: Call) -> None:
        """Remove a call before the next step. Does nothing if the call is already done."""
        self._inbox.put(partial(self._end, call))

    def stop(self) -> None:
        """End `run` after the step in progress."""
        self._inbox.put(None)

    def run(self) -> None:
        """Run steps until `stop`. When idle, check the bookkeeping and sleep until a request arrives."""
        while self._take_orders():
            self._install_ready()
            chunks = self.scheduler.schedule()
            self._load_wanted()
            if chunks:
                self._step(chunks)
            self._send()
        self._loader.shutdown(cancel_futures=True)

    def _take_orders(self) -> bool:
        """Process the inbox. Wait for a message if there is nothing else to do."""
        idle = not self.scheduler.running and (not self.scheduler.num_waiting or bool(self._loading))
        if idle:
            self.scheduler.check()
        while idle or not self._inbox.empty():
            order = self._inbox.get()
            if order is None:
                return False
            order()
            idle = False
        return True

    def _admit(self, call: Call) -> None:
        for candidate in call.candidates:
            self._candidates[candidate.sequence] = (call, candidate)
            self.scheduler.admit(candidate.sequence)
        self._num_admitted += len(call.candidates)

    def _end(self, call: Call) -> None:
        for candidate in call.candidates:
            self.scheduler.finish(candidate.sequence)
            self._candidates.pop(candidate.sequence, None)

    def _fail(self, call: Call, error: ApiError) -> None:
        self._end(call)
        self._outbox.append((call, error))

    def _send(self) -> None:
        if self._outbox:
            self._deliver(self._outbox)
            self._outbox = []

    def _step(self, chunks: list[Chunk]) -> None:
        """Compute the chunks and sample a token for each sequence whose prompt is complete."""
        slots = [self.scheduler.slots.find(chunk.sequence.digest) or 0 for chunk in chunks]
        try:
            logits = self._runner.step(chunks, slots)
        except Exception:
            log.exception("A step failed; its %d calls end with an error.", len(chunks))
            self._fail_all(chunks)
            return
        self.scheduler.advance(chunks)
        self.metrics.count_step(chunks)
        complete = [chunk.sequence for chunk in chunks if chunk.is_last]
        for row, sequence in enumerate(complete):
            if sequence not in self._candidates:  # another candidate of its call has failed
                continue
            call, candidate = self._candidates[sequence]
            if not math.isfinite(logits.log_totals[row]):
                self._fail(call, FailedPrecondition(NOT_FINITE if call.adapter_digest else BASE_NOT_FINITE))
                continue
            allowed = candidate.grammar.allowed() if candidate.grammar else None
            self._add_token(call, candidate, candidate.sampler.choose(logits, row, allowed))

    def _add_token(self, call: Call, candidate: Candidate, chosen: Any) -> None:
        event = candidate.add(chosen, self.vocabulary, call.show_logprobs)
        self.metrics.count_token(call)
        if candidate.finish_reason:
            self.scheduler.finish(candidate.sequence)
            del self._candidates[candidate.sequence]
            self.metrics.count_finish(call, candidate)
        self._outbox.append((call, event))

    def _fail_all(self, chunks: list[Chunk]) -> None:
        error = ApiError("The engine could not compute this step; its log says why.", code=Code.INTERNAL)
        for call in {
            self._candidates[chunk.sequence][0] for chunk in chunks if chunk.sequence in self._candidates
        }:
            self._fail(call, error)

    def _load_wanted(self) -> None:
        """Read the adapters that calls wait for, in other threads."""
        for digest in self.scheduler.wanted:
            if digest in self._loading or digest in self._ready:
                continue
            call = next(call for call, _ in self._candidates.values() if call.adapter_digest == digest)
            future = self._loader.submit(self._load, call)
            self._loading[digest] = future
            future.add_done_callback(partial(self._report_loaded, digest))

    def _load(self, call: Call) -> Any:
        adapter = load_adapter(call.adapter_folder, call.adapter_digest, self._base_id)
        if not all(np.isfinite(matrix).all() for matrix in (*adapter.a.values(), *adapter.b.values())):
            raise OvertoneError(NOT_FINITE)
        return self._runner.prepare(adapter)

    def _report_loaded(self, digest: str, future: Future[Any]) -> None:
        self._inbox.put(partial(self._loaded, digest, future))

    def _loaded(self, digest: str, future: Future[Any]) -> None:
        del self._loading[digest]
        error = future.exception()
        if error is None:
            self._ready[digest] = future.result()
        else:
            self._reject(digest, error)

    def _install_ready(self) -> None:
        """Put loaded adapters into slots. They wait while all slots are in use."""
        for digest in list(self._ready):
            slot = self.scheduler.slots.allocate(digest)
            if slot is None:
                return
            self._runner.install(slot, self._ready.pop(digest))
            self.metrics.adapter_loads += 1

    def _reject(self, digest: str, error: BaseException) -> None:
        if not isinstance(error, OvertoneError):
            log.error("An adapter could not be loaded.", exc_info=error)
        message = str(error) if isinstance(error, OvertoneError) else "The adapter could not be loaded."
        for call in {call for call, _ in self._candidates.values() if call.adapter_digest == digest}:
            self._fail(call, FailedPrecondition(message))
