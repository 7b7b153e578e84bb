"""What the next step computes, in integers."""

import random
from itertools import count

import pytest

from overtone.engine.cache import BlockCache
from overtone.engine.scheduler import Chunk, Limits, Scheduler, Sequence, State
from overtone.engine.slots import AdapterSlots
from overtone.errors import ResourceExhausted

keys = count()


def make(num_blocks: int = 64, slots: int = 2, **limits: int) -> Scheduler:
    return Scheduler(BlockCache(num_blocks, 4), AdapterSlots(slots), Limits(**limits))


def sequence(length: int = 6, model: str = "", digest: str = "", first: int = 0) -> Sequence:
    return Sequence(next(keys), digest, list(range(first, first + length)), model)


def step(scheduler: Scheduler) -> list[Chunk]:
    """Schedule, 'compute', and append a token where one was chosen."""
    chunks = scheduler.schedule()
    scheduler.advance(chunks)
    for chunk in chunks:
        if chunk.is_last:
            chunk.sequence.ids.append(7)
    return chunks


def spans(chunks: list[Chunk]) -> list[tuple[int, int]]:
    return [(chunk.start, chunk.count) for chunk in chunks]


def test_a_prompt_is_read_once_and_then_continued_token_by_token() -> None:
    scheduler = make()
    scheduler.admit(sequence(6))
    assert [spans(step(scheduler)) for _ in range(3)] == [[(0, 6)], [(6, 1)], [(7, 1)]]


def test_a_sequence_joins_while_another_decodes() -> None:
    scheduler = make()
    scheduler.admit(sequence(6))
    step(scheduler)
    scheduler.admit(sequence(3, first=50))
    assert spans(step(scheduler)) == [(6, 1), (0, 3)]


def test_a_long_prompt_comes_in_chunks_beside_the_streams() -> None:
    scheduler = make(chunk_tokens=4)
    scheduler.admit(sequence(3))
    step(scheduler)
    scheduler.admit(sequence(10, first=50))
    assert [spans(step(scheduler)) for _ in range(3)] == [
        [(3, 1), (0, 4)],
        [(4, 1), (4, 4)],
        [(5, 1), (8, 2)],
    ]


def test_a_repeated_beginning_is_not_computed_again() -> None:
    scheduler = make()
    first = sequence(9)
    scheduler.admit(first)
    step(scheduler)
    scheduler.finish(first)
    scheduler.admit(sequence(9))
    assert spans(step(scheduler)) == [(8, 1)]


def test_candidates_share_one_prefill() -> None:
    scheduler = make()
    first = sequence(9)
    scheduler.admit(first)
    scheduler.admit(Sequence(next(keys), "", list(range(9)), leader=first))
    assert [spans(step(scheduler)) for _ in range(2)] == [[(0, 9)], [(9, 1), (8, 1)]]


def test_a_busy_model_does_not_starve_the_others() -> None:
    scheduler = make(max_running=2)
    for _ in range(6):
        scheduler.admit(sequence(4, "busy"))
    scheduler.admit(sequence(4, "quiet"))
    assert {chunk.sequence.tuned_model for chunk in step(scheduler)} == {"busy", "quiet"}


def test_a_missing_adapter_is_asked_for_while_others_go_on() -> None:
    scheduler = make()
    scheduler.admit(sequence(4, "a", digest="abc"))
    scheduler.admit(sequence(4, "b"))
    assert [chunk.sequence.tuned_model for chunk in step(scheduler)] == ["b"]
    assert scheduler.wanted == ["abc"]
    scheduler.slots.allocate("abc")
    assert len(step(scheduler)) == 2


def test_the_youngest_gives_way_when_the_cache_is_full_and_comes_back() -> None:
    scheduler = make(num_blocks=4)
    old, young = sequence(7), sequence(7, first=50)
    scheduler.admit(old), scheduler.admit(young)
    step(scheduler), step(scheduler)
    assert [chunk.sequence for chunk in step(scheduler)] == [old]
    assert young.state is State.WAITING and young.blocks == []
    scheduler.finish(old)
    step(scheduler)
    assert young.num_computed == len(young.ids) - 1
    scheduler.finish(young)
    scheduler.check()


def test_finishing_twice_is_finishing_once() -> None:
    scheduler = make()
    waiting, running = sequence(), sequence()
    scheduler.admit(running)
    step(scheduler)
    scheduler.admit(waiting)
    for each in (waiting, running) * 2:
        scheduler.finish(each)
    assert not scheduler.running and not scheduler.num_waiting
    scheduler.check()


def test_the_queue_has_an_end() -> None:
    scheduler = make(max_waiting=1)
    scheduler.admit(sequence())
    with pytest.raises(ResourceExhausted, match="1 calls are waiting and the limit is 1"):
        scheduler.require_room()


def test_everybody_is_served_in_the_end_whatever_happens() -> None:
    scheduler, choose = make(num_blocks=12, max_running=4, chunk_tokens=3), random.Random(1)
    open_sequences = []
    for number in range(40):
        new = sequence(choose.randrange(1, 20), model=f"m{number % 3}", first=choose.randrange(3))
        scheduler.admit(new)
        open_sequences.append(new)
    for _ in range(3000):
        step(scheduler)
        scheduler.check()
        for each in [s for s in open_sequences if len(s.ids) - s.num_prompt >= 5]:
            scheduler.finish(each)
            open_sequences.remove(each)
    assert not open_sequences
