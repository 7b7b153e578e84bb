"""Errors over HTTP: the status of each code, and the shape that Google's clients read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overtone.errors import Code

HTTP_STATUS: Mapping[Code, int] = {
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}  # as google/rpc/code.proto gives them


def error_value(code: Code, message: str) -> dict[str, Any]:
    """Return an error as JSON: {"error": {"code", "message", "status"}}."""
    return {"error": {"code": HTTP_STATUS[code], "message": message, "status": code.name}}
