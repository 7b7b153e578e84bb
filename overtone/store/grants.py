"""Who may do what with a tuned model: conditions for lists, and the permissions themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, or_

from overtone.store.tables import permissions, tuned_models


@dataclass(frozen=True)
class Grantee:
    """Whose permissions count for a question: an email address, and the groups it is in."""

    email: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """Which tuned models a list shows: those that meet all of it.

    Each of `words` is in the name or description, in any case. Of each of `roles` the grantee has one; an
    empty one asks for models that everyone may read.
    """

    grantee: Grantee
    words: tuple[str, ...] = ()
    roles: tuple[tuple[str, ...], ...] = ()

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the question in SQL."""
        given = (has_role(roles, self.grantee) if roles else shared_with_everyone() for roles in self.roles)
        return [*given, *map(has_text, self.words)]


def has_text(text: str) -> ColumnElement[bool]:
    """The condition that display name or description holds this text, whatever its case."""
    return tuned_models.c.search_text.contains(text.casefold(), autoescape=True)


def is_for(grantee: Grantee) -> ColumnElement[bool]:
    """The condition that a permission was given to a grantee, by itself or by a group."""
    kind, email = permissions.c.grantee_type, permissions.c.email_address
    kinds = [and_(kind == "USER", email == grantee.email)]
    if grantee.groups:
        kinds.append(and_(kind == "GROUP", email.in_(grantee.groups)))
    return or_(*kinds)


def has_role(roles: Sequence[str], grantee: Grantee) -> ColumnElement[bool]:
    """The condition that a tuned model gives a grantee one of these roles, other than through everyone."""
    return _given(is_for(grantee), permissions.c.role.in_(roles))


def shared_with_everyone() -> ColumnElement[bool]:
    """The condition that everyone may read a tuned model."""
    return _given(permissions.c.grantee_type == "EVERYONE")


def _given(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition that a tuned model has such a permission, asked row by row: so a page ends early."""
    return exists().where(permissions.c.tuned_model_uid == tuned_models.c.uid, *conditions)
