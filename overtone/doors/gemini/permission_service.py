"""google.ai.generativelanguage.v1beta.PermissionService: sharing tuned models and giving them away."""

from __future__ import annotations

import re

from overtone.doors.gemini import messages as m
from overtone.doors.gemini.names import (
    format_permission,
    no_permission,
    parse_permission,
    parse_tuned_model,
    shown,
)
from overtone.errors import PermissionDenied
from overtone.service import rules
from overtone.service.access import Access, Caller, Role
from overtone.service.rules import refuse
from overtone.store.store import Store
from overtone.store.tables import PermissionRow, TunedModelRow

EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
MAX_EMAIL_CHARS = 254
GRANTEES = {1: "USER", 2: "GROUP", 3: "EVERYONE"}
ROLES = {1: "OWNER", 2: "WRITER", 3: "READER"}


class PermissionService:
    """Writers share, owners give away; the owner's own permission can only be transferred."""

    def __init__(self, store: Store, access: Access):
        self.store = store
        self.permissions = store.permissions
        self.access = access

    def create_permission(self, request: m.CreatePermissionRequest, caller: Caller) -> m.Permission:
        """Give a user, a group or everyone a role on a tuned model."""
        row = self._model(request.parent, caller, Role.WRITER)
        given = request.permission
        grantee_type = _read_grantee_type(given)
        email = _read_grantee_email(given, grantee_type)
        made = self.permissions.create(row.uid, grantee_type, email, _read_role(given))
        return to_permission(row, made)

    def get_permission(self, request: m.GetPermissionRequest, caller: Caller) -> m.Permission:
        """Return one permission."""
        return to_permission(*self._find(request.name, caller, Role.WRITER))

    def list_permissions(
        self, request: m.ListPermissionsRequest, caller: Caller
    ) -> m.ListPermissionsResponse:
        """Return a tuned model's permissions by pages, the owner's among them."""
        row = self._model(request.parent, caller, Role.WRITER)
        size = rules.page_size(request.page_size)
        pager = self.store.pager("permissions", str(row.uid))
        found = self.permissions.list(row.uid, pager.position(request.page_token), size + 1)
        token = pager.token(found[size - 1].serial) if len(found) > size else ""
        page = [to_permission(row, permission) for permission in found[:size]]
        return m.ListPermissionsResponse(permissions=page, next_page_token=token)

    def update_permission(self, request: m.UpdatePermissionRequest, caller: Caller) -> m.Permission:
        """Change a permission's role, the one thing about it that can change."""
        row, permission = self._find(request.permission.name, caller, Role.WRITER)
        for path in request.update_mask.paths:
            if path not in ("role", "*"):
                raise refuse("update_mask", f"names {shown(path)!r}; only role can be changed.")
        _refuse_owner(permission)
        return to_permission(row, self.permissions.update_role(permission, _read_role(request.permission)))

    def delete_permission(self, request: m.DeletePermissionRequest, caller: Caller) -> m.Empty:
        """Take a permission away."""
        _, permission = self._find(request.name, caller, Role.WRITER)
        _refuse_owner(permission)
        self.permissions.delete(permission)
        return m.Empty()

    def transfer_ownership(
        self, request: m.TransferOwnershipRequest, caller: Caller
    ) -> m.TransferOwnershipResponse:
        """Make another user the owner; the caller becomes a writer."""
        row = self._model(request.name, caller, Role.READER)
        if self.access.role_of(caller, row) < Role.OWNER:
            raise PermissionDenied("You need to be the owner of the resource to transfer ownership")
        self.permissions.transfer_ownership(row.uid, read_email("email_address", request.email_address))
        return m.TransferOwnershipResponse()

    def _model(self, name: str, caller: Caller, role: Role) -> TunedModelRow:
        row = self.store.get_tuned_model(parse_tuned_model(name))
        self.access.require(caller, role, row)
        return row

    def _find(self, name: str, caller: Caller, role: Role) -> tuple[TunedModelRow, PermissionRow]:
        tuned_model_id, permission_id = parse_permission(name)
        row = self.store.get_tuned_model(tuned_model_id)
        self.access.require(caller, role, row)
        permission = self.permissions.find(row.uid, permission_id)
        if permission is None:
            raise no_permission(name)
        return row, permission


def to_permission(row: TunedModelRow, permission: PermissionRow) -> m.Permission:
    """Return a permission as clients see it."""
    message = m.Permission(name=format_permission(row.id, permission.id))
    bare = m.Permission.pb(message)
    bare.grantee_type = permission.grantee_type
    bare.role = permission.role
    if permission.email_address:
        bare.email_address = permission.email_address
    return message


def read_email(field: str, text: str) -> str:
    """Return an email address in lower case, by which people are known here. Raises for what is none."""
    if len(text) > MAX_EMAIL_CHARS or not EMAIL.fullmatch(text):
        raise refuse(field, f"is {shown(text)!r}; it must be an email address.")
    return text.lower()


def _read_grantee_type(given: m.Permission) -> str:
    if given.grantee_type not in GRANTEES:
        raise refuse("permission.grantee_type", "is missing; it must be USER, GROUP or EVERYONE.")
    return GRANTEES[given.grantee_type]


def _read_grantee_email(given: m.Permission, grantee_type: str) -> str:
    if grantee_type != "EVERYONE":
        return read_email("permission.email_address", given.email_address)
    if given.email_address:
        raise refuse("permission.email_address", "must not be set when the grantee is EVERYONE.")
    return ""


def _read_role(given: m.Permission) -> str:
    if given.role not in ROLES:
        raise refuse("permission.role", "is missing; it must be READER or WRITER.")
    if ROLES[given.role] == "OWNER":
        raise refuse("permission.role", "is OWNER, and there is only one; use transferOwnership.")
    return ROLES[given.role]


def _refuse_owner(permission: PermissionRow) -> None:
    if permission.role == "OWNER":
        raise refuse("name", "is the owner's permission, which can only be passed on, by transferOwnership.")
