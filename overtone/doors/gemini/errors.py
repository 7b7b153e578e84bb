"""Errors as clients of the Gemini API read them: Google's words where it has some, its paths, its details.

A service's error names fields in our own nouns and resources by their ids; here they become paths of Google's
messages and resource names. Details are google.rpc messages as JSON, each with its @type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from overtone.doors import dispatch
from overtone.doors.gemini.names import format_ref
from overtone.errors import Code, InvalidArgument
from overtone.service.access import MissingKey, UnknownKey

BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
TASK = "tuned_model.tuning_task"
FIELDS = {
    "id": "tuned_model_id",
    "display_name": "tuned_model.display_name",
    "base_model": "tuned_model.base_model",
    "defaults": "tuned_model",
    "hyperparameters": f"{TASK}.hyperparameters",
    "dataset": f"{TASK}.training_data",
    "examples": f"{TASK}.training_data.examples.examples",
    "conversation": "contents",
    "options.stop": "generation_config.stop_sequences",
    "options.num_candidates": "generation_config.candidate_count",
    "options.max_tokens": "generation_config.max_output_tokens",
    "options": "generation_config",
    "new_owner": "email_address",
}  # the beginning of our path → of Google's; the longest that fits counts, and any other path is the same
MISSING_KEY = (
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
    "other form of API consumer identity to call this API."
)
UNKNOWN_KEY = "API key not valid. Please pass a valid API key."
UNKNOWN_KEY_DETAILS = (
    {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    },
    {
        "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
        "locale": "en-US",
        "message": UNKNOWN_KEY,
    },
)

Violation = tuple[str, str]  # path and description; the path of the whole request is ""


class BadRequest(InvalidArgument):
    """Fields of the request that are wrong, each with its path in Google's messages."""

    def __init__(self, violations: Sequence[Violation]):
        super().__init__("\n".join(text for _, text in violations))
        self.violations = violations


@dataclass(frozen=True)
class Told:
    """An error as it leaves the door."""

    code: Code
    message: str
    details: Sequence[Mapping[str, Any]] = ()


def tell(error: BaseException) -> Told:
    """Return what the caller hears of an error; an unforeseen one is logged and told as INTERNAL."""
    heard = dispatch.to_api_error(error)
    if isinstance(heard, MissingKey):
        return Told(heard.code, MISSING_KEY)
    if isinstance(heard, UnknownKey):
        return Told(heard.code, UNKNOWN_KEY, UNKNOWN_KEY_DETAILS)
    if isinstance(heard, BadRequest):
        return Told(heard.code, heard.message, [_bad_request(heard.violations)])
    message = heard.spell(to_path, format_ref)
    if heard.field:
        return Told(heard.code, message, [_bad_request([(to_path(heard.field), message)])])
    return Told(heard.code, message)


def to_path(field: str) -> str:
    """Return the path in Google's messages of a field of ours: `examples[3].output` is far down a tuned model."""
    for ours in sorted(FIELDS, key=len, reverse=True):
        if re.match(rf"{re.escape(ours)}(?![a-z_])", field):
            return FIELDS[ours] + field.removeprefix(ours)
    return field


def _bad_request(violations: Sequence[Violation]) -> dict[str, Any]:
    shapes = [
        {"field": path, "description": text} if path else {"description": text} for path, text in violations
    ]
    return {"@type": BAD_REQUEST, "fieldViolations": shapes}
