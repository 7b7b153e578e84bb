"""Who is calling, and what they may do: the one place where that is decided.

Roles are concentric: a reader may use a tuned model, a writer may also edit and share it, an owner may also
delete it and give it away.

A service that listens on the loopback and never had a key is open: every caller is the local owner. Then only
requests for a loopback host, and from no page of another origin, are answered: otherwise any web site could
have the browser of whoever visits it call this service (DNS rebinding).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from time import monotonic
from urllib.parse import urlsplit

from overtone.config import LOCAL_OWNER, Settings
from overtone.domain.sharing import Caller, Role
from overtone.domain.tuning import TunedModel
from overtone.errors import InvalidArgument, OvertoneError, PermissionDenied, shown, tuned_model
from overtone.store.store import Store

ASK_AGAIN_S = 0.5


class MissingKey(PermissionDenied):
    """The service has keys, and the request came without one."""

    def __init__(self) -> None:
        super().__init__("This service wants a key. Make one with: overtone keys create --user EMAIL")


class UnknownKey(InvalidArgument):
    """The request's key is not one of the service's: mistyped, or revoked."""

    def __init__(self) -> None:
        super().__init__("The key is not known here. See those that there are: overtone keys list")


@dataclass(frozen=True)
class Credentials:
    """What a request says about who sends it, before anyone believes it: keys as they came, "" for none.

    `project` is the number of the project it names; `host` the name that this service was called by, and `origin` that
    of the page whose script sent it.
    """

    key: str = ""
    bearer: str = ""
    project: str = ""
    host: str = ""
    origin: str = ""
    client: str = field(default="", compare=False)  # what sent it, as that says


class Access:
    """Turns credentials into callers and holds callers against roles."""

    def __init__(self, store: Store, settings: Settings):
        self.store = store
        self.may_be_open = is_loopback(settings.host)
        self.origins = frozenset(settings.allowed_origins)
        self._asked_at, self._answer = -ASK_AGAIN_S, False

    def authenticate(self, presented: Credentials) -> Caller:
        """Return the caller behind the credentials.

        Raises UnknownKey for a wrong key and MissingKey for none.
        """
        if self.may_be_open and not self._keys_are_needed():
            self._require_home(presented)
            return Caller(LOCAL_OWNER, client=presented.client)
        key = presented.key or presented.bearer
        if not key:
            raise MissingKey
        row = self.store.keys.find(key)
        if row is None:
            raise UnknownKey
        groups = self.store.groups.of(row.email_address)
        return Caller(row.email_address, groups, row.project, presented.client)

    def require(self, caller: Caller, role: Role, model: TunedModel) -> None:
        """Let the caller pass. Raises PermissionDenied when its role on the tuned model is below `role`."""
        if self.role_of(caller, model) < role:
            raise PermissionDenied(
                "You do not have permission to access tuned model {model}.", model=tuned_model(model.id)
            )

    def role_of(self, caller: Caller, model: TunedModel) -> int:
        """Return the caller's highest role on the tuned model, 0 for none."""
        if caller.email == model.owner_email:
            return Role.OWNER
        by_project = caller.project in map(str, model.reader_project_numbers)
        given = [Role[name] for name in self.store.permissions.roles_of(model.uid, caller.grantee)]
        return max([*given, Role.READER] if by_project else given, default=0)

    def _keys_are_needed(self) -> bool:
        """Ask the database at most twice a second: every request wants to know."""
        if monotonic() - self._asked_at >= ASK_AGAIN_S:
            self._answer, self._asked_at = self.store.keys.are_needed(), monotonic()
        return self._answer

    def _require_home(self, presented: Credentials) -> None:
        if presented.host and not is_loopback(_host_of(f"//{presented.host}")):
            raise PermissionDenied(
                f"This service has no keys, so it answers only to loopback addresses, not to the host "
                f"{shown(presented.host)}. Make a key with: overtone keys create --user EMAIL"
            )
        same = urlsplit(presented.origin).netloc == presented.host
        if presented.origin and not same and presented.origin not in self.origins:
            raise PermissionDenied(
                f"This service has no keys, so it does not answer pages from {shown(presented.origin)}. "
                "Name that origin in OVERTONE_CORS_ORIGINS, or make a key with: "
                "overtone keys create --user EMAIL"
            )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a host of this name."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings, store: Store) -> None:
    """Raise OvertoneError when the service would be open to other machines: no key, and not the loopback."""
    if not is_loopback(settings.host) and not store.keys.exist():
        raise OvertoneError(
            f"There are no keys yet, and {settings.host} can be reached from other machines: anyone "
            "could use this service. Make a key first: overtone keys create --user EMAIL"
        )


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
