"""How many items a page holds."""

from __future__ import annotations

import pytest

from overtone.errors import InvalidArgument
from overtone.service.paging import PageRequest


@pytest.mark.parametrize(("asked", "given"), [(0, 10), (5, 5), (1000, 1000), (5000, 1000)])
def test_a_page_is_as_large_as_asked_within_reason(asked: int, given: int) -> None:
    assert PageRequest(asked).count() == given


def test_a_negative_page_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="page_size is -1"):
        PageRequest(-1).count()
