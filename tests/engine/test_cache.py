"""The books of the KV cache."""

import random

from overtone.engine.cache import BlockCache


def filled(cache: BlockCache, digest: str, ids: list[int]) -> list[int]:
    blocks = cache.allocate(cache.count_blocks(len(ids)))
    assert blocks is not None
    cache.seal(digest, ids, blocks)
    return blocks


def test_the_same_beginning_is_found_again() -> None:
    cache = BlockCache(8, 4)
    blocks = filled(cache, "a", list(range(10)))
    cache.free(blocks)
    assert cache.reuse("a", [*range(8), 99, 98, 97]) == blocks[:2]


def test_at_least_one_token_is_left_to_compute() -> None:
    cache = BlockCache(8, 4)
    blocks = filled(cache, "a", list(range(8)))
    assert cache.reuse("a", list(range(8))) == blocks[:1]


def test_other_weights_never_meet_the_same_cache() -> None:
    cache = BlockCache(8, 4)
    filled(cache, "a", list(range(8)))
    assert cache.reuse("b", list(range(8))) == []


def test_a_block_in_use_is_never_given_away() -> None:
    cache = BlockCache(4, 4)
    filled(cache, "a", list(range(12)))
    assert cache.allocate(2) is None
    assert cache.num_available == 1


def test_the_longest_unused_contents_make_room() -> None:
    cache = BlockCache(2, 4)
    for start in (0, 100):
        cache.free(filled(cache, "a", list(range(start, start + 4))))
    filled(cache, "a", list(range(200, 204)))
    assert cache.reuse("a", [0, 1, 2, 3, 4]) == []
    assert len(cache.reuse("a", [100, 101, 102, 103, 104])) == 1


def test_a_beginning_outlives_its_continuation() -> None:
    cache = BlockCache(3, 4)
    cache.free(filled(cache, "a", list(range(12))))
    assert cache.allocate(1) is not None
    assert len(cache.reuse("a", list(range(13)))) == 2


def test_the_books_stay_in_order_whatever_happens() -> None:
    cache, held, choose = BlockCache(16, 2), [], random.Random(0)
    for _ in range(500):
        if held and choose.random() < 0.5:
            cache.free(held.pop(choose.randrange(len(held))))
        else:
            ids = [choose.randrange(2) for _ in range(choose.randrange(2, 9))]
            blocks = cache.reuse("a", ids)
            more = cache.allocate(cache.count_blocks(len(ids)) - len(blocks))
            if more is None:
                cache.free(blocks)
                continue
            cache.seal("a", ids, blocks + more)
            held.append(blocks + more)
        cache.check()
