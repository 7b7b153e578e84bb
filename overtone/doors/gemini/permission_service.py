"""google.ai.generativelanguage.v1beta.PermissionService: sharing tuned models and giving them away."""

from __future__ import annotations

from overtone.domain.sharing import Caller, Permission
from overtone.doors.gemini import messages as m
from overtone.doors.gemini.names import format_permission, parse_permission, parse_tuned_model
from overtone.errors import refuse, shown
from overtone.service.paging import PageRequest
from overtone.service.sharing import Sharing

GRANTEE_TYPES = {1: "USER", 2: "GROUP", 3: "EVERYONE"}
ROLES = {1: "OWNER", 2: "WRITER", 3: "READER"}


class PermissionService:
    """Translates; the rules are those of service.sharing."""

    def __init__(self, sharing: Sharing):
        self.sharing = sharing

    def create_permission(self, request: m.CreatePermissionRequest, caller: Caller) -> m.Permission:
        """Give a user, a group or everyone a role on a tuned model."""
        tuned_model_id = parse_tuned_model(request.parent)
        given = request.permission
        grantee_type = GRANTEE_TYPES.get(given.grantee_type, "")
        role = ROLES.get(given.role, "")
        made = self.sharing.create(tuned_model_id, grantee_type, given.email_address, role, caller)
        return to_permission(tuned_model_id, made)

    def get_permission(self, request: m.GetPermissionRequest, caller: Caller) -> m.Permission:
        """Return one permission."""
        tuned_model_id, permission_id = parse_permission(request.name)
        return to_permission(tuned_model_id, self.sharing.get(tuned_model_id, permission_id, caller))

    def list_permissions(
        self, request: m.ListPermissionsRequest, caller: Caller
    ) -> m.ListPermissionsResponse:
        """Return a tuned model's permissions by pages, the owner's among them."""
        tuned_model_id = parse_tuned_model(request.parent)
        page = self.sharing.list(tuned_model_id, PageRequest(request.page_size, request.page_token), caller)
        found = [to_permission(tuned_model_id, permission) for permission in page.items]
        return m.ListPermissionsResponse(permissions=found, next_page_token=page.next_token)

    def update_permission(self, request: m.UpdatePermissionRequest, caller: Caller) -> m.Permission:
        """Change a permission's role, the one thing about it that can change."""
        tuned_model_id, permission_id = parse_permission(request.permission.name)
        self.sharing.get(tuned_model_id, permission_id, caller)
        for path in request.update_mask.paths:
            if path not in ("role", "*"):
                raise refuse("update_mask", f"names {shown(path)!r}; only role can be changed.")
        role = ROLES.get(request.permission.role, "")
        return to_permission(tuned_model_id, self.sharing.update(tuned_model_id, permission_id, role, caller))

    def delete_permission(self, request: m.DeletePermissionRequest, caller: Caller) -> m.Empty:
        """Take a permission away."""
        self.sharing.delete(*parse_permission(request.name), caller)
        return m.Empty()

    def transfer_ownership(
        self, request: m.TransferOwnershipRequest, caller: Caller
    ) -> m.TransferOwnershipResponse:
        """Make another user the owner; the caller becomes a writer."""
        self.sharing.transfer(parse_tuned_model(request.name), request.email_address, caller)
        return m.TransferOwnershipResponse()


def to_permission(tuned_model_id: str, permission: Permission) -> m.Permission:
    """Return a permission as clients see it."""
    message = m.Permission(name=format_permission(tuned_model_id, permission.id))
    bare = m.Permission.pb(message)
    bare.grantee_type = permission.grantee_type
    bare.role = permission.role
    if permission.email_address:
        bare.email_address = permission.email_address
    return message
