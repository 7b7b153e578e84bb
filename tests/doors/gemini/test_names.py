"""Resource names."""

from __future__ import annotations

import pytest

from overtone.doors.gemini import names
from overtone.errors import InvalidArgument, NotFound


def test_format_and_parse_are_inverse() -> None:
    assert names.parse_tuned_model(names.format_tuned_model("a-1")) == "a-1"
    assert names.parse_operation(names.format_operation("a-1", "b2")) == ("a-1", "b2")
    assert names.parse_permission(names.format_permission("a-1", "c3")) == ("a-1", "c3")


@pytest.mark.parametrize("name", ["", "a", "models/a", "tunedModels", "tunedModels/", "tunedModels/a/b"])
def test_a_name_of_another_shape_is_the_callers_mistake(name: str) -> None:
    with pytest.raises(InvalidArgument, match="must look like"):
        names.parse_tuned_model(name)


@pytest.mark.parametrize("tuned_model_id", ["A", "..", "a%2Fb", "a\0", "x" * 10_000, "é"])
def test_an_impossible_id_belongs_to_nothing(tuned_model_id: str) -> None:
    with pytest.raises(NotFound) as caught:
        names.parse_tuned_model(f"tunedModels/{tuned_model_id}")
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()
