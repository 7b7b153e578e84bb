"""SQL conditions that select the tuned models of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_

from overtone.domain.sharing import Grantee, Question
from overtone.store.tables import permissions, tuned_models


def conditions_of(question: Question) -> list[ColumnElement[bool]]:
    """Return a question in SQL."""
    given = (
        has_role(roles, question.grantee) if roles else shared_with_everyone() for roles in question.roles
    )
    return [*given, *map(has_text, question.words)]


def has_text(text: str) -> ColumnElement[bool]:
    """The condition that the display name or the description contains this text, ignoring case."""
    return tuned_models.c.search_text.contains(text.casefold(), autoescape=True)


def is_for(email: Any, groups: Any) -> ColumnElement[bool]:
    """The condition that a permission was given to this email address or to one of its groups.

    Both may be values or bound parameters. Permissions of EVERYONE do not count.
    """
    kind = permissions.c.grantee_type
    address = permissions.c.email_address
    return or_(and_(kind == "USER", address == email), and_(kind == "GROUP", address.in_(groups)))


def is_for_everyone() -> ColumnElement[bool]:
    """The condition that a permission was given to everyone."""
    return permissions.c.grantee_type == "EVERYONE"


def has_role(roles: Sequence[str], grantee: Grantee) -> ColumnElement[bool]:
    """The condition that the grantee has one of these roles on a tuned model, other than through EVERYONE."""
    return _given(is_for(grantee.email, grantee.groups), permissions.c.role.in_(roles))


def shared_with_everyone() -> ColumnElement[bool]:
    """The condition that everyone may read a tuned model."""
    return _given(is_for_everyone())


def _given(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition that a tuned model has such a permission, evaluated row by row so that a page can end early."""
    return exists().where(permissions.c.tuned_model_uid == tuned_models.c.uid, *conditions)
