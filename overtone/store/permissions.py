"""The permissions of tuned models: operations on the table, one transaction each."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from overtone.domain.sharing import Grantee, Permission
from overtone.errors import AlreadyExists, NotFound
from overtone.store.conditions import is_for, is_for_everyone
from overtone.store.database import Database
from overtone.store.tables import permissions

EVERYONE_ID = "everyone"
ID_BYTES = 6
ROLES = select(permissions.c.role).where(
    permissions.c.tuned_model_uid == bindparam("uid"),
    or_(is_for(bindparam("email"), bindparam("groups", expanding=True)), is_for_everyone()),
)


class Permissions:
    """Who has which role on which tuned model."""

    def __init__(self, database: Database):
        self._database = database

    def roles_of(self, tuned_model_uid: int, grantee: Grantee) -> set[str]:
        """Return the grantee's roles on a tuned model: its own, its groups' and those of EVERYONE."""
        values = {"uid": tuned_model_uid, "email": grantee.email, "groups": grantee.groups}
        with self._database.reading() as connection:
            return set(connection.execute(ROLES, values).scalars())

    def list(self, tuned_model_uid: int, after: int, limit: int) -> list[Permission]:
        """Return at most `limit` permissions after a serial number, in the order in which they were created."""
        query = select(permissions).where(
            permissions.c.tuned_model_uid == tuned_model_uid, permissions.c.serial > after
        )
        with self._database.reading() as connection:
            found = connection.execute(query.order_by(permissions.c.serial).limit(limit)).all()
        return [Permission(*row) for row in found]

    def find(self, tuned_model_uid: int, permission_id: str) -> Permission | None:
        """Return the permission with this id, or None."""
        query = select(permissions).where(*_key(tuned_model_uid, permission_id))
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return Permission(*row) if row else None

    def create(self, tuned_model_uid: int, grantee_type: str, email: str, role: str) -> Permission:
        """Create a permission. Raises AlreadyExists if the grantee already has one, which can be updated."""
        try:
            with self._database.writing() as connection:
                return insert_permission(connection, tuned_model_uid, grantee_type, email, role)
        except IntegrityError:
            who = email or "everyone"
            raise AlreadyExists(f"{who} already has a permission on this tuned model; update it.") from None

    def update_role(self, row: Permission, role: str) -> Permission:
        """Change the role of a permission. Raises NotFound if it was deleted."""
        change = update(permissions).where(*_still_given(row)).values(role=role)
        with self._database.writing() as connection:
            changed = connection.execute(change.returning(*permissions.c)).first()
        if changed is None:
            raise NotFound("The permission was deleted in the meantime.")
        return Permission(*changed)

    def delete(self, row: Permission) -> None:
        """Delete a permission."""
        with self._database.writing() as connection:
            connection.execute(delete(permissions).where(*_still_given(row)))

    def transfer_ownership(self, tuned_model_uid: int, email: str) -> None:
        """Make another user the only owner. The previous owner becomes a writer."""
        mine = permissions.c.tuned_model_uid == tuned_model_uid
        his = (mine, permissions.c.grantee_type == "USER", permissions.c.email_address == email)
        with self._database.writing() as connection:
            connection.execute(
                update(permissions).where(mine, permissions.c.role == "OWNER").values(role="WRITER")
            )
            if connection.execute(update(permissions).where(*his).values(role="OWNER")).rowcount == 0:
                insert_permission(connection, tuned_model_uid, "USER", email, "OWNER")

    def take_over(self, from_email: str, to_email: str) -> int:
        """Give every tuned model of one user to another. Return how many there were."""
        owned = select(permissions.c.tuned_model_uid).where(
            permissions.c.role == "OWNER", permissions.c.email_address == from_email
        )
        with self._database.writing() as connection:
            uids = list(connection.execute(owned).scalars())
            for uid in uids:
                mine = permissions.c.tuned_model_uid == uid
                connection.execute(
                    delete(permissions).where(mine, permissions.c.role != "OWNER", *_user(to_email))
                )
                connection.execute(
                    update(permissions)
                    .where(mine, permissions.c.role == "OWNER")
                    .values(email_address=to_email)
                )
        return len(uids)

    def count_owned(self, email: str) -> int:
        """Return the number of tuned models that a user owns."""
        return self._count_owners(permissions.c.email_address == email)

    def count_owned_by_others(self, email: str) -> int:
        """Return the number of tuned models that other users own."""
        return self._count_owners(permissions.c.email_address != email)

    def _count_owners(self, condition: ColumnElement[bool]) -> int:
        query = select(func.count()).where(permissions.c.role == "OWNER", condition)
        with self._database.reading() as connection:
            return int(connection.execute(query).scalar_one())


def _user(email: str) -> tuple[Any, ...]:
    return permissions.c.grantee_type == "USER", permissions.c.email_address == email


def insert_permission(
    connection: Connection, tuned_model_uid: int, grantee_type: str, email: str, role: str
) -> Permission:
    """Insert a permission within a transaction and return it."""
    values = {
        "tuned_model_uid": tuned_model_uid,
        "id": EVERYONE_ID if grantee_type == "EVERYONE" else secrets.token_hex(ID_BYTES),
        "grantee_type": grantee_type,
        "email_address": email,
        "role": role,
    }
    return Permission(*connection.execute(insert(permissions).values(values).returning(*permissions.c)).one())


def _still_given(row: Permission) -> tuple[Any, ...]:
    """The condition that a transfer has not made this permission the owner's in the meantime."""
    return permissions.c.serial == row.serial, permissions.c.role != "OWNER"


def _key(tuned_model_uid: int, permission_id: str) -> tuple[Any, ...]:
    return permissions.c.tuned_model_uid == tuned_model_uid, permissions.c.id == permission_id
