"""Bodies over the limit are neither kept nor read far; the sender of a near miss hears the number."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from typing import Any

import pytest
from starlette.requests import Request

from overtone.doors.http_body import TooLarge, read, unpack
from overtone.errors import InvalidArgument

PIECE = 1 << 16
LIMIT = 16 * PIECE


class Sender:
    """A body that comes piece by piece, and how many pieces were asked for."""

    def __init__(self, num_pieces: int, headers: dict[str, str] | None = None):
        self.num_pieces, self.num_asked = num_pieces, 0
        pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        self.request = Request({"type": "http", "headers": pairs}, self._receive)

    async def _receive(self) -> Any:
        self.num_asked += 1
        more = self.num_asked < self.num_pieces
        return {"type": "http.request", "body": bytes(PIECE), "more_body": more}


def test_a_body_at_the_limit_is_read() -> None:
    assert len(asyncio.run(read(Sender(16).request, LIMIT))) == LIMIT


def test_a_near_miss_is_read_to_its_end_and_told_its_size() -> None:
    sender = Sender(17)
    with pytest.raises(TooLarge, match=f"{LIMIT} bytes. This one has {17 * PIECE} bytes"):
        asyncio.run(read(sender.request, LIMIT))
    assert sender.num_asked == 17


def test_what_is_far_over_the_limit_is_not_read_on() -> None:
    sender = Sender(10_000)
    with pytest.raises(TooLarge):
        asyncio.run(read(sender.request, LIMIT))
    assert sender.num_asked == 33


def test_what_says_that_it_is_far_over_the_limit_is_not_read_at_all() -> None:
    sender = Sender(10_000, {"content-length": str(10_000 * PIECE)})
    with pytest.raises(TooLarge):
        asyncio.run(read(sender.request, LIMIT))
    assert sender.num_asked == 0


def test_what_is_over_the_limit_is_not_kept() -> None:
    tracemalloc.start()
    with pytest.raises(TooLarge):
        asyncio.run(read(Sender(32).request, LIMIT))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * PIECE  # the 16 pieces that might still have been all, and the one that was too much


def test_all_members_of_a_gzip_body_are_read() -> None:
    packed = gzip.compress(b'{"displayName": ') + gzip.compress(b'"d"}')
    assert unpack(packed, "gzip", LIMIT) == b'{"displayName": "d"}'


def test_what_follows_a_packed_body_is_not_cut_off() -> None:
    with pytest.raises(InvalidArgument, match="not whole gzip"):
        unpack(gzip.compress(b"{}") + b"rest", "gzip", LIMIT)


def test_the_limit_holds_for_all_members_together() -> None:
    with pytest.raises(TooLarge):
        unpack(gzip.compress(bytes(LIMIT // 2 + 1)) * 2, "gzip", LIMIT)
