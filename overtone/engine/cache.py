"""Bookkeeping of the KV cache: which blocks are in use, by how many sequences, and which can be reused.

A full block is identified by a hash over its adapter's digest and every token up to its end, so the same prefix
under the same weights is computed once (arXiv:2309.06180; hash chains as in vLLM). Integers only: the runner
holds the tensors. A block is free, in use (with a reference count), or idle: unused, but its content may be reused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import blake2b


class BlockCache:
    """Blocks 0 … num_blocks - 1, each for `block_size` tokens."""

    def __init__(self, num_blocks: int, block_size: int):
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._free = list(reversed(range(num_blocks)))  # a stack: recently used memory is warm memory
        self._idle: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._users = [0] * num_blocks
        self._hash_of: list[bytes | None] = [None] * num_blocks
        self._block_of: dict[bytes, int] = {}

    @property
    def num_available(self) -> int:
        """How many blocks `allocate` can provide."""
        return len(self._free) + len(self._idle)

    @property
    def num_used(self) -> int:
        return self.num_blocks - self.num_available

    def count_blocks(self, num_tokens: int) -> int:
        """Return how many blocks this many tokens need."""
        return -(-num_tokens // self.block_size)

    def reuse(self, digest: str, ids: Sequence[int]) -> list[int]:
        """Take and return the cached blocks that hold the longest known prefix of these tokens.

        At least the last token is left out, because its logits must be computed.
        """
        blocks: list[int] = []
        for block_hash in self._hashes(digest, ids[:-1]):
            block = self._block_of.get(block_hash)
            if block is None:
                break
            self._use(block)
            blocks.append(block)
        return blocks

    def allocate(self, count: int) -> list[int] | None:
        """Take empty blocks, evicting the least recently used content if needed; None if there are too few."""
        if count > self.num_available:
            return None
        return [self._allocate_one() for _ in range(count)]

    def seal(self, digest: str, ids: Sequence[int], blocks: Sequence[int]) -> None:
        """Register the full blocks of a sequence, whose computed tokens are `ids`, for reuse."""
        for block, block_hash in zip(blocks, self._hashes(digest, ids), strict=False):
            if self._hash_of[block] is None and block_hash not in self._block_of:
                self._hash_of[block] = block_hash
                self._block_of[block_hash] = block

    def free(self, blocks: Sequence[int]) -> None:
        """Release blocks, the last first, so that a prefix stays cached longer than its continuation."""
        for block in reversed(blocks):
            self._users[block] -= 1
            if self._users[block] == 0:
                self._rest(block)

    def check(self) -> None:
        """Check the bookkeeping. Raises AssertionError with the first inconsistency."""
        free, idle = set(self._free), set(self._idle)
        used = {block for block, users in enumerate(self._users) if users}
        assert len(free) == len(self._free), "a block is free twice"
        assert not free & idle and not free & used and not idle & used, "a block is in two states"
        assert len(free | idle | used) == self.num_blocks, "a block is lost"
        assert all(self._hash_of[block] is None for block in free), "a free block still has contents"
        known = {value: block for block, value in enumerate(self._hash_of) if value is not None}
        assert known == self._block_of, "the hashes disagree"

    def _use(self, block: int) -> None:
        self._idle.pop(block, None)
        self._users[block] += 1

    def _allocate_one(self) -> int:
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            self._forget(block)
        self._users[block] = 1
        return block

    def _forget(self, block: int) -> None:
        block_hash = self._hash_of[block]
        if block_hash is not None:
            del self._block_of[block_hash]
            self._hash_of[block] = None

    def _rest(self, block: int) -> None:
        if self._hash_of[block] is None:
            self._free.append(block)
        else:
            self._idle[block] = None

    def _hashes(self, digest: str, ids: Sequence[int]) -> Iterator[bytes]:
        size = self.block_size
        chain = digest.encode()
        for end in range(size, len(ids) + 1, size):
            tokens = b"".join(token.to_bytes(4, "little") for token in ids[end - size : end])
            chain = blake2b(chain + tokens, digest_size=16).digest()
            yield chain
