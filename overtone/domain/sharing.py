"""Who may do what with a tuned model, and which tuned models somebody asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
MAX_EMAIL_CHARS = 254
ANY_ROLE = ("OWNER", "WRITER", "READER")


class Role(IntEnum):
    """What one may do with a tuned model; a higher role may all that a lower one may."""

    READER = 1
    WRITER = 2
    OWNER = 3


@dataclass(frozen=True)
class Grantee:
    """Whose permissions count for a question: an email address, and the groups it is in."""

    email: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Permission:
    """One grant of a role on a tuned model."""

    serial: int
    tuned_model_uid: int
    id: str
    grantee_type: str  # USER, GROUP or EVERYONE
    email_address: str  # "" for EVERYONE
    role: str  # READER, WRITER or OWNER


@dataclass(frozen=True)
class Question:
    """Which tuned models a list shows: those that meet all of it.

    Each of `words` is in the name or description, in any case. Of each of `roles` the grantee has one; an
    empty one asks for models that everyone may read.
    """

    grantee: Grantee
    words: tuple[str, ...] = ()
    roles: tuple[tuple[str, ...], ...] = (ANY_ROLE,)  # without those that are only shared with everyone


@dataclass(frozen=True)
class Caller:
    """Who sent a request, as far as we believe it. `project` is the number that the key was made with."""

    email: str
    groups: tuple[str, ...] = ()
    project: str = ""
    client: str = ""  # what it calls with, as that says

    @property
    def grantee(self) -> Grantee:
        return Grantee(self.email, self.groups)


def is_email(text: str) -> bool:
    """Tell whether a text can be an email address, by which people are known here."""
    return len(text) <= MAX_EMAIL_CHARS and EMAIL.fullmatch(text) is not None
