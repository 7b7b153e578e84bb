"""What can go wrong, typed by who must act. Nothing here knows HTTP or gRPC wording; the doors translate.

The codes are those of google.rpc.Code (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto),
with the HTTP status that the proto gives each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum


class Code(Enum):
    """A canonical code: its number on gRPC and its HTTP status."""

    CANCELLED = (1, 499)
    INVALID_ARGUMENT = (3, 400)
    DEADLINE_EXCEEDED = (4, 504)
    NOT_FOUND = (5, 404)
    ALREADY_EXISTS = (6, 409)
    PERMISSION_DENIED = (7, 403)
    RESOURCE_EXHAUSTED = (8, 429)
    FAILED_PRECONDITION = (9, 400)
    ABORTED = (10, 409)
    OUT_OF_RANGE = (11, 400)
    UNIMPLEMENTED = (12, 501)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    UNAUTHENTICATED = (16, 401)

    @property
    def number(self) -> int:
        return self.value[0]

    @property
    def http_status(self) -> int:
        return self.value[1]

    @classmethod
    def from_number(cls, number: int) -> Code:
        """Return the code with this gRPC number; INTERNAL for one that we never send."""
        return next((code for code in cls if code.number == number), cls.INTERNAL)


class ApiError(Exception):
    """Something the caller must hear. `details` are google.rpc detail messages as JSON, each with @type."""

    code = Code.INTERNAL

    def __init__(self, message: str, details: Sequence[Mapping[str, object]] = (), code: Code | None = None):
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        if code is not None:
            self.code = code


class InvalidArgument(ApiError):
    """The request itself is wrong, whatever the state of the service: change it and send it again."""

    code = Code.INVALID_ARGUMENT


class FailedPrecondition(ApiError):
    """The request is sound, but not while things stand as they do."""

    code = Code.FAILED_PRECONDITION


class NotFound(ApiError):
    """The resource does not exist, or the caller may not know that it does."""

    code = Code.NOT_FOUND


class AlreadyExists(ApiError):
    """The name is taken."""

    code = Code.ALREADY_EXISTS


class PermissionDenied(ApiError):
    """The caller is known and may not do this."""

    code = Code.PERMISSION_DENIED


class ResourceExhausted(ApiError):
    """A queue, a quota or a disk is full: wait, or make room."""

    code = Code.RESOURCE_EXHAUSTED


class Unimplemented(ApiError):
    """The Gemini API has this method and we do not; the message says what to use instead."""

    code = Code.UNIMPLEMENTED


class Unavailable(ApiError):
    """A part of the service is away for the moment. Clients retry this for a minute, so use it sparingly."""

    code = Code.UNAVAILABLE


class OvertoneError(Exception):
    """What the operator must hear, in one plain sentence; the command line prints it without a traceback."""
