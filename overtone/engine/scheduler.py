"""Decides what the next step computes: integers only, no tensors, no clocks.

Sequences join and leave at every step (continuous batching). Each decoding sequence gets one token. The rest of the
step's token budget goes to prompts, in chunks, so that a long prompt does not stall the others. Waiting sequences are
admitted in the order of the tokens that their tuned model was already served (the Virtual Token Counter of
arXiv:2401.00588), so one busy model cannot starve the others. If the cache is full, the youngest sequence releases
its blocks and is computed again later; its text does not change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from enum import Enum

from overtone.engine.cache import BlockCache
from overtone.engine.slots import AdapterSlots
from overtone.errors import ResourceExhausted


class State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(eq=False)
class Sequence:
    """A prompt and what has been generated from it. `num_computed` of its tokens are in the cache."""

    key: int
    digest: str
    ids: list[int]
    tuned_model: str = ""
    num_prompt: int = 0
    num_computed: int = 0
    blocks: list[int] = field(default_factory=list)
    leader: Sequence | None = None  # wait until this one's prompt, which is the same, is in the cache
    state: State = State.WAITING

    def __post_init__(self) -> None:
        self.num_prompt = self.num_prompt or len(self.ids)

    @property
    def num_missing(self) -> int:
        return len(self.ids) - self.num_computed

    @property
    def is_decoding(self) -> bool:
        return self.num_computed >= self.num_prompt and self.num_missing == 1

    @property
    def must_wait(self) -> bool:
        leader = self.leader
        return leader is not None and leader.state is not State.FINISHED and not leader.is_decoding


@dataclass(frozen=True)
class Chunk:
    """The tokens of one sequence that a step computes: `count` tokens from position `start`."""

    sequence: Sequence
    start: int
    count: int

    @property
    def is_last(self) -> bool:
        """Whether the step's logits are used to sample the sequence's next token."""
        return self.start + self.count == len(self.sequence.ids)


@dataclass(frozen=True)
class Limits:
    """The limits of a step and of the queue."""

    max_running: int = 16  # sequences in one batch
    max_waiting: int = 256  # more are refused with 429
    chunk_tokens: int = 48  # prompt tokens in a step while others are decoding
    step_tokens: int = 256  # prompt tokens in a step when none are

    @property
    def max_rows(self) -> int:
        """The size of the largest step."""
        return self.max_running + self.step_tokens


class Scheduler:
    """Holds the waiting and the running sequences, and decides what to compute next."""

    def __init__(self, cache: BlockCache, slots: AdapterSlots, limits: Limits | None = None):
        self.cache = cache
        self.slots = slots
        self.limits = limits or Limits()
        self.running: list[Sequence] = []
        self.wanted: list[str] = []  # digests that the last `schedule` needed and that are not loaded
        self.num_preempted = 0
        self._waiting: dict[str, deque[Sequence]] = {}
        self._served: dict[str, int] = {}  # tuned model → tokens it was served

    @property
    def num_waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def require_room(self, count: int = 1) -> None:
        """Raise ResourceExhausted if the queue would overflow."""
        if self.num_waiting + count > self.limits.max_waiting:
            raise ResourceExhausted(
                f"The engine's queue is full: {self.num_waiting} calls are waiting and the limit is "
                f"{self.limits.max_waiting}. Try again in a few seconds."
            )

    def admit(self, sequence: Sequence) -> None:
        """Put a new sequence into the queue."""
        if sequence.tuned_model not in self._waiting:
            self._catch_up(sequence.tuned_model)
        self._waiting.setdefault(sequence.tuned_model, deque()).append(sequence)

    def finish(self, sequence: Sequence) -> None:
        """Remove a sequence in any state: done, cancelled or failed. Idempotent."""
        if sequence.state is State.RUNNING:
            self.running.remove(sequence)
            self._release(sequence)
        elif sequence.state is State.WAITING:
            self._leave_queue(sequence)
        sequence.state = State.FINISHED

    def schedule(self) -> list[Chunk]:
        """Return the next step's chunks, decoding sequences first, with blocks allocated for all of them."""
        self.wanted = []
        preempted_before = self.num_preempted
        chunks = [chunk for sequence in list(self.running) if (chunk := self._decode(sequence))]
        budget = self.limits.chunk_tokens if chunks else self.limits.step_tokens
        for sequence in [s for s in self.running if not s.is_decoding]:
            budget -= self._prefill(sequence, budget, chunks)
        for sequence in self._by_turn():
            full = budget <= 0 or len(self.running) >= self.limits.max_running
            if full or self.num_preempted > preempted_before:
                break
            if self._start(sequence):
                budget -= self._prefill(sequence, budget, chunks)
        return [chunk for chunk in chunks if chunk.sequence.state is State.RUNNING]

    def advance(self, chunks: Seq[Chunk]) -> None:
        """Record a computed step: full blocks become reusable, and the tuned models are charged."""
        for chunk in chunks:
            sequence = chunk.sequence
            self._served[sequence.tuned_model] = self._served.get(sequence.tuned_model, 0) + chunk.count
            if sequence.state is State.RUNNING:
                sequence.num_computed = chunk.start + chunk.count
                self._seal(sequence, chunk)

    def check(self) -> None:
        """Check all bookkeeping. Call it when idle."""
        self.cache.check()
        self.slots.check()
        if not self.running:
            assert self.cache.num_used == 0, "blocks are used by nobody"
            assert self.slots.num_pinned == 0, "slots are pinned by nobody"

    def _decode(self, sequence: Sequence) -> Chunk | None:
        if not sequence.is_decoding or sequence.state is not State.RUNNING:
            return None
        if not self._grow(sequence, len(sequence.ids)):
            return None
        return Chunk(sequence, sequence.num_computed, 1)

    def _prefill(self, sequence: Sequence, budget: int, chunks: list[Chunk]) -> int:
        """Add a chunk of a running sequence's prompt within the budget; return its length."""
        count = min(budget, sequence.num_missing)
        if sequence.state is not State.RUNNING or count <= 0:
            return 0
        if not self._grow(sequence, sequence.num_computed + count):
            return 0
        chunks.append(Chunk(sequence, sequence.num_computed, count))
        return count

    def _start(self, sequence: Sequence) -> bool:
        """Move a waiting sequence into the batch, if its adapter is loaded and its prompt fits into the cache."""
        if sequence.must_wait:
            return False
        if self.slots.find(sequence.digest) is None:
            if sequence.digest not in self.wanted:
                self.wanted.append(sequence.digest)
            return False
        blocks = self.cache.reuse(sequence.digest, sequence.ids)
        missing = self.cache.count_blocks(len(sequence.ids)) - len(blocks)
        if self.running and missing > self.cache.num_available:
            self.cache.free(blocks)
            return False
        sequence.blocks = blocks
        sequence.num_computed = len(blocks) * self.cache.block_size
        self._leave_queue(sequence)
        self.slots.pin(sequence.digest)
        sequence.state = State.RUNNING
        self.running.append(sequence)
        return True

    def _grow(self, sequence: Sequence, num_tokens: int) -> bool:
        """Get blocks for this many tokens, preempting the youngest; False if that was this sequence itself."""
        count = self.cache.count_blocks(num_tokens) - len(sequence.blocks)
        while (blocks := self.cache.allocate(max(count, 0))) is None:
            victim = self.running[-1]
            self._preempt(victim)
            if victim is sequence:
                return False
        sequence.blocks += blocks
        return True

    def _preempt(self, sequence: Sequence) -> None:
        """Send a running sequence back to the head of its queue. It keeps what it generated."""
        self.num_preempted += 1
        self.running.remove(sequence)
        self._release(sequence)
        sequence.state = State.WAITING
        self._waiting.setdefault(sequence.tuned_model, deque()).appendleft(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.cache.free(sequence.blocks)
        self.slots.unpin(sequence.digest)
        sequence.blocks = []
        sequence.num_computed = 0

    def _leave_queue(self, sequence: Sequence) -> None:
        queue = self._waiting[sequence.tuned_model]
        queue.remove(sequence)
        if not queue:
            del self._waiting[sequence.tuned_model]

    def _seal(self, sequence: Sequence, chunk: Chunk) -> None:
        size = self.cache.block_size
        if chunk.start // size != sequence.num_computed // size:
            self.cache.seal(sequence.digest, sequence.ids[: sequence.num_computed], sequence.blocks)

    def _catch_up(self, tuned_model: str) -> None:
        """Raise a model that was idle to the lowest count in use: idle time earns no credit."""
        active = {*self._waiting, *(sequence.tuned_model for sequence in self.running)} - {tuned_model}
        floor = min((self._served.get(name, 0) for name in active), default=0)
        self._served[tuned_model] = max(self._served.get(tuned_model, 0), floor)

    def _by_turn(self) -> list[Sequence]:
        """Return the waiting sequences, each time of the model served least, counting what it takes now."""
        queues = {name: list(reversed(queue)) for name, queue in self._waiting.items()}
        served = {name: self._served.get(name, 0) for name in queues}
        order = []
        while queues:
            name = min(queues, key=lambda name: served[name])
            sequence = queues[name].pop()
            served[name] += sequence.num_missing
            order.append(sequence)
            if not queues[name]:
                del queues[name]
        return order
