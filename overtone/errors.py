"""What can go wrong, typed by who must act: a code, a sentence, the field. Words of no protocol; the doors translate.

The codes are those of google.rpc.Code (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto):
the field's common list of what can go wrong with a call.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

SHOWN_CHARACTERS = 100
PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Code(Enum):
    """A canonical code, with its number on gRPC."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16

    @property
    def number(self) -> int:
        return self.value

    @classmethod
    def from_number(cls, number: int) -> Code:
        """Return the code with this gRPC number; INTERNAL for one that we never send."""
        return next((code for code in cls if code.number == number), cls.INTERNAL)


@dataclass(frozen=True)
class Ref:
    """A resource that a sentence names, by its kind and its ids. Each door spells it in its own way."""

    kind: str  # base_model, tuned_model, operation or permission; the last two have the tuned model's id before theirs.
    # verb or field: what a caller can call or set, by our own word for it
    ids: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join(self.ids)


def base_model(base_id: str) -> Ref:
    return Ref("base_model", (base_id,))


def tuned_model(tuned_model_id: str) -> Ref:
    return Ref("tuned_model", (tuned_model_id,))


class ApiError(Exception):
    """Something the caller must hear.

    The sentence may hold `{field}` and `{name}` for each of `refs`: what every door spells in its own way. `field` is
    a dotted path in our own nouns: `hyperparameters.epoch_count`, `examples[3].output`.
    """

    code = Code.INTERNAL

    def __init__(self, sentence: str, *, field: str = "", code: Code | None = None, **refs: Ref):
        super().__init__(sentence)
        self.sentence = sentence
        self.field = field
        self.refs = refs
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.message

    @property
    def message(self) -> str:
        """The sentence with plain ids and our own paths."""
        return self.spell(str, str)

    def spell(self, field: Callable[[str], str], ref: Callable[[Ref], str]) -> str:
        """Return the sentence as a door says it: with its path of the field and its names of resources."""

        def spelled(found: re.Match[str]) -> str:
            if found[1] == "field" and self.field:
                return field(self.field)
            return ref(self.refs[found[1]]) if found[1] in self.refs else found[0]

        return PLACEHOLDER.sub(spelled, self.sentence)


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
    """The protocol has this method and we do not; the sentence says what to use instead."""

    code = Code.UNIMPLEMENTED


class Unavailable(ApiError):
    """A part of the service is away for the moment. Clients retry this for a minute, so use it sparingly."""

    code = Code.UNAVAILABLE


class OvertoneError(Exception):
    """What the operator must hear, in one plain sentence; the command line prints it without a traceback."""


def refuse(field: str, problem: str, **refs: Ref) -> InvalidArgument:
    """Return the error for one wrong field. `problem` ends the sentence that the field begins."""
    error = InvalidArgument(f"{{field}} {problem}", field=field)
    error.refs.update(refs)
    return error


def shown(text: str) -> str:
    """Return a caller's text as an error may repeat it: printable, and short."""
    clean = "".join(
        character if character.isprintable() else "\ufffd" for character in text[: SHOWN_CHARACTERS + 1]
    )
    return clean if len(clean) <= SHOWN_CHARACTERS else f"{clean[:SHOWN_CHARACTERS]}…"
