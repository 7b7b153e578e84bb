"""Our errors in the words of the Gemini API."""

from __future__ import annotations

import pytest

from overtone.doors.gemini.errors import MISSING_KEY, tell, to_path
from overtone.errors import Code, NotFound, Ref, refuse, tuned_model
from overtone.service.access import MissingKey, UnknownKey

EXAMPLES = "tuned_model.tuning_task.training_data.examples.examples"


@pytest.mark.parametrize(
    ("ours", "googles"),
    [
        ("id", "tuned_model_id"),
        ("display_name", "tuned_model.display_name"),
        ("defaults.top_k", "tuned_model.top_k"),
        ("hyperparameters.epoch_count", "tuned_model.tuning_task.hyperparameters.epoch_count"),
        ("examples", EXAMPLES),
        ("examples[3].output", f"{EXAMPLES}[3].output"),
        ("options.stop[1]", "generation_config.stop_sequences[1]"),
        ("options.temperature", "generation_config.temperature"),
        ("conversation", "contents"),
        ("new_owner", "email_address"),
        ("page_size", "page_size"),
        ("permission.role", "permission.role"),
        ("identity", "identity"),
    ],
)
def test_a_field_is_told_by_googles_path(ours: str, googles: str) -> None:
    assert to_path(ours) == googles


def test_a_wrong_field_stands_in_the_sentence_and_in_the_details() -> None:
    told = tell(refuse("examples[3].output", "is empty."))
    assert told.message == f"{EXAMPLES}[3].output is empty."
    violation = {"field": f"{EXAMPLES}[3].output", "description": told.message}
    assert [detail["fieldViolations"] for detail in told.details] == [[violation]]


def test_a_resource_is_told_by_its_name() -> None:
    error = NotFound("Operation {operation} does not exist.", operation=Ref("operation", ("a", "b")))
    assert tell(error).message == "Operation tunedModels/a/operations/b does not exist."
    assert str(error) == "Operation a/b does not exist."


def test_verbs_and_fields_within_a_sentence_are_told_in_googles_words() -> None:
    error = refuse("base_model", "is missing; name it, or {tuned}.", tuned=Ref("field", ("tuned_model",)))
    assert tell(error).message.endswith("is missing; name it, or tuned_model_source.tuned_model.")
    assert str(error) == "base_model is missing; name it, or tuned_model."


def test_braces_in_a_callers_text_are_only_text() -> None:
    error = refuse("filter", "has the term '{0} {field_} {x!r}' {", model=tuned_model("a"))
    assert tell(error).message == "filter has the term '{0} {field_} {x!r}' {"


def test_keys_are_refused_in_googles_words() -> None:
    missing, unknown = tell(MissingKey()), tell(UnknownKey())
    assert (missing.code, missing.message) == (Code.PERMISSION_DENIED, MISSING_KEY)
    assert (unknown.code, unknown.details[0]["reason"]) == (Code.INVALID_ARGUMENT, "API_KEY_INVALID")
