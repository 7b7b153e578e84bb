"""What a caller hears of an error."""

from __future__ import annotations

import pytest

from overtone.doors.dispatch import to_api_error
from overtone.errors import Code, NotFound, OvertoneError


def test_an_api_error_is_heard_as_it_is() -> None:
    error = NotFound("It is not here.")
    assert to_api_error(error) is error


def test_what_the_operator_must_mend_is_heard_in_its_own_sentence(caplog: pytest.LogCaptureFixture) -> None:
    heard = to_api_error(OvertoneError("card.json is damaged."))
    assert (heard.code, heard.message) == (Code.FAILED_PRECONDITION, "card.json is damaged.")
    assert [record.getMessage() for record in caplog.records] == ["card.json is damaged."]
    assert caplog.records[0].exc_info is None


def test_the_unforeseen_is_logged_whole_and_told_in_general(caplog: pytest.LogCaptureFixture) -> None:
    heard = to_api_error(ZeroDivisionError("secret"))
    assert heard.code is Code.INTERNAL and "secret" not in heard.message
    assert caplog.records[0].exc_info is not None
