"""API keys and groups: who a caller is. A key is shown once, when it is created; only its hash is stored."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import delete, insert, select

from overtone.errors import AlreadyExists
from overtone.store.database import Database
from overtone.store.tables import group_members, keys, meta

PREFIX = "ot"
ID_BYTES, SECRET_BYTES = 4, 24
CLOSED_KEY = "closed"  # in the table meta: set when the first key is created
CLOSED = select(meta.c.value).where(meta.c.key == CLOSED_KEY)
ANY_KEY = select(keys.c.id).limit(1)
COLUMNS = (keys.c.id, keys.c.email_address, keys.c.project, keys.c.created_at)


@dataclass(frozen=True)
class KeyRow:
    """What is stored about a key; not enough to use it."""

    id: str
    email_address: str
    project: str
    created_at: datetime


class Keys:
    """The operations on keys, one transaction each."""

    def __init__(self, database: Database):
        self._database = database

    def create(self, email: str, project: str = "") -> str:
        """Create a key for a user and return it. It cannot be shown again. `project` is a project number."""
        key_id = secrets.token_hex(ID_BYTES)
        key = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        row = {
            "id": key_id,
            "digest": _digest(key),
            "email_address": email.lower(),
            "project": project,
            "created_at": datetime.now(UTC),
        }
        with self._database.writing() as connection:
            connection.execute(insert(keys).values(row))
            if connection.execute(CLOSED).first() is None:
                connection.execute(insert(meta).values(key=CLOSED_KEY, value="yes"))
        return key

    def find(self, key: str) -> KeyRow | None:
        """Return the user and project of a key, or None. Takes the same time however many characters match."""
        prefix, _, rest = key.partition("_")
        key_id, _, _ = rest.partition("_")
        with self._database.reading() as connection:
            found = connection.execute(select(keys.c.digest, *COLUMNS).where(keys.c.id == key_id)).first()
        digest, row = (found[0], KeyRow(*found[1:])) if found else ("", None)
        return row if hmac.compare_digest(digest, _digest(key)) and prefix == PREFIX else None

    def exist(self) -> bool:
        """Tell whether any key exists."""
        with self._database.reading() as connection:
            return connection.execute(ANY_KEY).first() is not None

    def are_needed(self) -> bool:
        """Tell whether every call needs a key: from the first key on, even after the last one is revoked."""
        with self._database.reading() as connection:
            return any(connection.execute(query).first() is not None for query in (CLOSED, ANY_KEY))

    def open(self) -> None:
        """Let callers on this machine in without a key again. Raises AlreadyExists while there are keys."""
        with self._database.writing() as connection:
            if connection.execute(ANY_KEY).first() is not None:
                raise AlreadyExists("There are keys: revoke them first, see `overtone keys list`.")
            connection.execute(delete(meta).where(meta.c.key == CLOSED_KEY))

    def list(self) -> list[KeyRow]:
        """Return all keys, oldest first."""
        with self._database.reading() as connection:
            return [KeyRow(*row) for row in connection.execute(select(*COLUMNS).order_by(keys.c.created_at))]

    def revoke(self, key_id: str) -> bool:
        """Delete a key. Return whether it existed."""
        with self._database.writing() as connection:
            return connection.execute(delete(keys).where(keys.c.id == key_id)).rowcount > 0


class Groups:
    """Which users are in which groups. A group is named by an email address too."""

    def __init__(self, database: Database):
        self._database = database

    def add(self, group_email: str, member_email: str) -> None:
        """Put a user into a group. Idempotent."""
        row = {"group_email": group_email.lower(), "member_email": member_email.lower()}
        self.remove(group_email, member_email)
        with self._database.writing() as connection:
            connection.execute(insert(group_members).values(row))

    def remove(self, group_email: str, member_email: str) -> bool:
        """Take a user out of a group. Return whether it was a member."""
        mine = group_members.c.group_email == group_email.lower()
        his = group_members.c.member_email == member_email.lower()
        with self._database.writing() as connection:
            return connection.execute(delete(group_members).where(mine, his)).rowcount > 0

    def list(self) -> list[tuple[str, str]]:
        """Return every membership as (group, member), sorted."""
        query = select(group_members.c.group_email, group_members.c.member_email)
        with self._database.reading() as connection:
            return [
                (group, member)
                for group, member in connection.execute(query.order_by(*query.selected_columns))
            ]

    def of(self, member_email: str) -> tuple[str, ...]:
        """Return the groups that a user is in."""
        query = select(group_members.c.group_email).where(group_members.c.member_email == member_email)
        with self._database.reading() as connection:
            return tuple(connection.execute(query).scalars())


def _digest(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
