"""Page tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overtone.errors import InvalidArgument
from overtone.store.pages import Pager

PAGER = Pager(b"secret", ("tunedModels", "owner:me"))


@given(st.integers(0, 2**63))
def test_a_token_says_where_its_page_begins(after: int) -> None:
    assert PAGER.position(PAGER.token(after)) == after


def test_no_token_is_the_first_page() -> None:
    assert PAGER.position("") == 0


def test_a_token_is_safe_in_a_url() -> None:
    assert all(PAGER.token(after).replace("-", "").replace("_", "").isalnum() for after in range(500))


@pytest.mark.parametrize("other", [Pager(b"other", PAGER.question), Pager(b"secret", ("tunedModels", ""))])
def test_a_token_from_elsewhere_is_refused(other: Pager) -> None:
    with pytest.raises(InvalidArgument, match="page_token is not a token"):
        PAGER.position(other.token(5))


@given(st.text(max_size=40))
def test_a_forged_token_is_refused(token: str) -> None:
    if token:
        with pytest.raises(InvalidArgument):
            PAGER.position(token)
