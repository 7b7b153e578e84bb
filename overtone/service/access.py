"""Who is calling, and what they may do: the one place where that is decided.

Roles are concentric: a reader may use a tuned model, a writer may also edit and share it, an owner may also
delete it and give it away. A service that has no keys is open: every caller is the local owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from overtone.config import Settings
from overtone.errors import PermissionDenied
from overtone.store.grants import Grantee
from overtone.store.store import Store
from overtone.store.tables import TunedModelRow
from overtone.wire.credentials import Credentials
from overtone.wire.names import format_tuned_model

LOCAL_OWNER = "owner@localhost"


class Role(IntEnum):
    """What one may do with a tuned model; a higher role may all that a lower one may."""

    READER = 1
    WRITER = 2
    OWNER = 3


@dataclass(frozen=True)
class Caller:
    """Who sent a request, as far as we believe it."""

    email: str
    groups: tuple[str, ...] = ()
    project: str = ""

    @property
    def grantee(self) -> Grantee:
        return Grantee(self.email, self.groups)


class Access:
    """Turns credentials into callers and holds callers against roles."""

    def __init__(self, store: Store, settings: Settings):
        self.store = store
        self.settings = settings

    def authenticate(self, presented: Credentials) -> Caller:
        """Return the caller behind the credentials."""
        return Caller(LOCAL_OWNER)

    def require(self, caller: Caller, role: Role, row: TunedModelRow) -> None:
        """Let the caller pass. Raises PermissionDenied when its role on the tuned model is below `role`."""
        if self.role_of(caller, row) < role:
            raise PermissionDenied(
                f"You do not have permission to access tuned model {format_tuned_model(row.id)}."
            )

    def role_of(self, caller: Caller, row: TunedModelRow) -> int:
        """Return the caller's highest role on the tuned model, 0 for none."""
        return max(
            (Role[name] for name in self.store.permissions.roles_of(row.uid, caller.grantee)), default=0
        )
