"""Bookkeeping of the adapter slots: which adapters are in memory, and which can be evicted.

An adapter is identified by the digest of its content, never by a model's name. So a model that was deleted and
created again cannot get its old weights. Slot 0 is the base itself and always there. Integers only.
"""

from __future__ import annotations

from collections import OrderedDict

BASE_SLOT = 0


class AdapterSlots:
    """Slots 1 … num_slots for adapters; slot 0 for none. The least recently used adapter is evicted first."""

    def __init__(self, num_slots: int):
        self.num_slots = num_slots
        self._free = list(range(num_slots, 0, -1))
        self._slot_of: OrderedDict[str, int] = OrderedDict()  # digest → slot, least recently used first
        self._pins: dict[str, int] = {}

    def find(self, digest: str) -> int | None:
        """Return the slot of an adapter; "" is the base."""
        return BASE_SLOT if not digest else self._slot_of.get(digest)

    @property
    def num_loaded(self) -> int:
        return len(self._slot_of)

    @property
    def num_pinned(self) -> int:
        return len(self._pins)

    def allocate(self, digest: str) -> int | None:
        """Give an adapter a slot, evicting the least recently used one if needed; None while all are in use."""
        assert digest and digest not in self._slot_of, "already has a slot"
        if not self._free and not self._evict():
            return None
        self._slot_of[digest] = slot = self._free.pop()
        return slot

    def pin(self, digest: str) -> None:
        """Keep an adapter in its slot until it was unpinned as often as pinned. Also marks it as just used."""
        if digest:
            self._slot_of.move_to_end(digest)
            self._pins[digest] = self._pins.get(digest, 0) + 1

    def unpin(self, digest: str) -> None:
        if digest:
            self._pins[digest] -= 1
            if not self._pins[digest]:
                del self._pins[digest]

    def free(self, digest: str) -> None:
        """Remove an adapter, for example because loading it failed."""
        assert digest not in self._pins, "in use"
        self._free.append(self._slot_of.pop(digest))

    def check(self) -> None:
        """Check the bookkeeping. Raises AssertionError with the first inconsistency."""
        slots = [*self._free, *self._slot_of.values()]
        assert sorted(slots) == list(range(1, self.num_slots + 1)), "a slot is lost or doubled"
        assert set(self._pins) <= set(self._slot_of), "an adapter is pinned without a slot"
        assert all(count > 0 for count in self._pins.values()), "a pin was given back twice"

    def _evict(self) -> bool:
        for digest in self._slot_of:
            if digest not in self._pins:
                self.free(digest)
                return True
        return False
