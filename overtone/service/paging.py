"""Lists by pages: how many items a page holds, and which comes next (AIP-158)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from overtone.errors import refuse
from overtone.store.pages import Pager

DEFAULT_PAGE_SIZE = 10
MAX_PAGE_SIZE = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class PageRequest:
    """Which page is asked for: the first without a token; 0 items stand for the list's default."""

    size: int = 0
    token: str = ""

    def count(self, default: int = DEFAULT_PAGE_SIZE) -> int:
        """Return how many items the page holds, never more than the maximum. Raises InvalidArgument."""
        if self.size < 0:
            raise refuse("page_size", f"is {self.size}; it must not be negative.")
        return min(self.size or default, MAX_PAGE_SIZE)


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items of a list, and the token of the next page; "" after the last."""

    items: Sequence[T]
    next_token: str = ""


def read_page(
    pager: Pager,
    asked: PageRequest,
    find: Callable[[int, int], Sequence[T]],
    key: Callable[[T], int],
    default: int = DEFAULT_PAGE_SIZE,
) -> Page[T]:
    """Return the page that is asked for.

    `find(after, limit)` returns items in the order of their `key`, from after one on. Raises InvalidArgument for a
    negative size and for a token that is not of this list.
    """
    size = asked.count(default)
    found = find(pager.position(asked.token), size + 1)
    if len(found) <= size:
        return Page(found)
    return Page(found[:size], pager.token(key(found[size - 1])))
