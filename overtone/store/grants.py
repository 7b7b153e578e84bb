"""SQL conditions that say who may see a tuned model, for lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, or_

from overtone.store.tables import permissions, tuned_models


@dataclass(frozen=True)
class Grantee:
    """The user whose permissions count: an email address and the groups it is in."""

    email: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """Selects the tuned models that a list shows: those that meet every condition.

    Each of `words` is in the name or description, in any case. The grantee has one of the roles in each item of
    `roles`; an empty item selects models that everyone may read.
    """

    grantee: Grantee
    words: tuple[str, ...] = ()
    roles: tuple[tuple[str, ...], ...] = ()

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the question as SQL conditions."""
        given = (has_role(roles, self.grantee) if roles else shared_with_everyone() for roles in self.roles)
        return [*given, *map(has_text, self.words)]


def has_text(text: str) -> ColumnElement[bool]:
    """The condition that the display name or the description contains this text, ignoring case."""
    return tuned_models.c.search_text.contains(text.casefold(), autoescape=True)


def is_for(grantee: Grantee) -> ColumnElement[bool]:
    """The condition that a permission was given to the grantee or to one of its groups."""
    kind, email = permissions.c.grantee_type, permissions.c.email_address
    kinds = [and_(kind == "USER", email == grantee.email)]
    if grantee.groups:
        kinds.append(and_(kind == "GROUP", email.in_(grantee.groups)))
    return or_(*kinds)


def has_role(roles: Sequence[str], grantee: Grantee) -> ColumnElement[bool]:
    """The condition that the grantee has one of these roles on a tuned model, other than through EVERYONE."""
    return _given(is_for(grantee), permissions.c.role.in_(roles))


def shared_with_everyone() -> ColumnElement[bool]:
    """The condition that everyone may read a tuned model."""
    return _given(permissions.c.grantee_type == "EVERYONE")


def _given(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition that a tuned model has such a permission, evaluated row by row so that a page can end early."""
    return exists().where(permissions.c.tuned_model_uid == tuned_models.c.uid, *conditions)
