"""Sharing tuned models and giving them away. Writers share, owners give away."""

from __future__ import annotations

from overtone.domain.sharing import Caller, Permission, Role, is_email
from overtone.domain.tuning import TunedModel
from overtone.errors import NotFound, PermissionDenied, Ref, refuse, shown
from overtone.service.access import Access
from overtone.service.paging import Page, PageRequest, read_page
from overtone.store.store import Store

GRANTEE_TYPES = ("USER", "GROUP", "EVERYONE")
TRANSFER = Ref("verb", ("transfer_ownership",))
ROLES = ("READER", "WRITER", "OWNER")


class Sharing:
    """The permissions of tuned models. The owner's own can only be passed on, by `transfer`."""

    def __init__(self, store: Store, access: Access):
        self._store = store
        self._permissions = store.permissions
        self._access = access

    def create(
        self, tuned_model_id: str, grantee_type: str, email: str, role: str, caller: Caller
    ) -> Permission:
        """Give a user, a group or everyone a role on a tuned model. "" stands for what was not given."""
        model = self._model(tuned_model_id, caller)
        if grantee_type not in GRANTEE_TYPES:
            raise refuse("permission.grantee_type", "is missing; it must be USER, GROUP or EVERYONE.")
        address = _check_grantee(grantee_type, email)
        return self._permissions.create(model.uid, grantee_type, address, _check_role(role))

    def get(self, tuned_model_id: str, permission_id: str, caller: Caller) -> Permission:
        """Return one permission. Raises NotFound."""
        model = self._model(tuned_model_id, caller)
        found = self._permissions.find(model.uid, permission_id)
        if found is None:
            ref = Ref("permission", (tuned_model_id, permission_id))
            raise NotFound("Permission {permission} does not exist.", permission=ref)
        return found

    def list(self, tuned_model_id: str, asked: PageRequest, caller: Caller) -> Page[Permission]:
        """Return a tuned model's permissions by pages, the owner's among them."""
        model = self._model(tuned_model_id, caller)

        def find(after: int, limit: int) -> list[Permission]:
            return self._permissions.list(model.uid, after, limit)

        pager = self._store.pager("permissions", str(model.uid))
        return read_page(pager, asked, find, lambda permission: permission.serial)

    def update(self, tuned_model_id: str, permission_id: str, role: str, caller: Caller) -> Permission:
        """Change a permission's role, the one thing about it that can change."""
        permission = self.get(tuned_model_id, permission_id, caller)
        _refuse_owner(permission)
        return self._permissions.update_role(permission, _check_role(role))

    def delete(self, tuned_model_id: str, permission_id: str, caller: Caller) -> None:
        """Take a permission away."""
        permission = self.get(tuned_model_id, permission_id, caller)
        _refuse_owner(permission)
        self._permissions.delete(permission)

    def transfer(self, tuned_model_id: str, email: str, caller: Caller) -> None:
        """Make another user the owner; the caller becomes a writer."""
        model = self._store.get_tuned_model(tuned_model_id)
        self._access.require(caller, Role.READER, model)
        if self._access.role_of(caller, model) < Role.OWNER:
            raise PermissionDenied("You need to be the owner of the resource to transfer ownership")
        self._permissions.transfer_ownership(model.uid, check_email("new_owner", email))

    def _model(self, tuned_model_id: str, caller: Caller) -> TunedModel:
        model = self._store.get_tuned_model(tuned_model_id)
        self._access.require(caller, Role.WRITER, model)
        return model


def check_email(field: str, text: str) -> str:
    """Return an email address in lower case. Raises InvalidArgument for what is none."""
    if not is_email(text):
        raise refuse(field, f"is {shown(text)!r}; it must be an email address.")
    return text.lower()


def _check_grantee(grantee_type: str, email: str) -> str:
    if grantee_type != "EVERYONE":
        return check_email("permission.email_address", email)
    if email:
        raise refuse("permission.email_address", "must not be set when the grantee is EVERYONE.")
    return ""


def _check_role(role: str) -> str:
    if role not in ROLES:
        raise refuse("permission.role", "is missing; it must be READER or WRITER.")
    if role == "OWNER":
        raise refuse("permission.role", "is OWNER, and there is only one; use {verb}.", verb=TRANSFER)
    return role


def _refuse_owner(permission: Permission) -> None:
    if permission.role == "OWNER":
        raise refuse(
            "name", "is the owner's permission, which can only be passed on, by {verb}.", verb=TRANSFER
        )
