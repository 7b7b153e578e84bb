"""The books of the adapter slots."""

from overtone.engine.slots import AdapterSlots


def test_the_base_is_always_there() -> None:
    assert AdapterSlots(1).find("") == 0


def test_the_longest_unused_adapter_makes_room() -> None:
    slots = AdapterSlots(2)
    slots.allocate("a"), slots.allocate("b")
    slots.pin("a"), slots.unpin("a")
    slots.allocate("c")
    assert [slots.find(digest) is None for digest in "abc"] == [False, True, False]


def test_a_pinned_adapter_stays() -> None:
    slots = AdapterSlots(1)
    slots.allocate("a")
    slots.pin("a")
    assert slots.allocate("b") is None
    slots.unpin("a")
    assert slots.allocate("b") == 1
    slots.check()


def test_a_freed_slot_is_used_again() -> None:
    slots = AdapterSlots(1)
    slots.allocate("a")
    slots.free("a")
    assert slots.allocate("b") == 1
