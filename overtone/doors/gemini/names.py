"""Resource names: `tunedModels/x`, `tunedModels/x/operations/y`, `tunedModels/x/permissions/z`, `models/m`.

`format_` and `parse_` are inverse. A name of the wrong shape is the caller's mistake; an id that no
resource can have belongs to no resource, so it is simply not found.
"""

from __future__ import annotations

import re

from overtone.errors import InvalidArgument, NotFound, Ref, shown

TUNED_MODEL_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
OPERATION_ID = re.compile(r"[a-z0-9]{1,40}")
PERMISSION_ID = re.compile(r"[a-z0-9]{1,40}")
FORMATS = {
    "base_model": "models/{}",
    "tuned_model": "tunedModels/{}",
    "operation": "tunedModels/{}/operations/{}",
    "permission": "tunedModels/{}/permissions/{}",
    "verb": "{}",
    "field": "{}",
}
WORDS = {
    ("verb", "transfer_ownership"): "transferOwnership",
    ("field", "tuned_model"): "tuned_model_source.tuned_model",
    ("field", "next_page_token"): "nextPageToken",
}  # where Google's word for what a sentence names is another than ours


def format_ref(ref: Ref) -> str:
    """Return what a sentence names, as Google does: a resource by its name, a verb and a field by Google's word."""
    return WORDS.get((ref.kind, ref.ids[0]), FORMATS[ref.kind].format(*ref.ids))


def format_tuned_model(tuned_model_id: str) -> str:
    return FORMATS["tuned_model"].format(tuned_model_id)


def format_operation(tuned_model_id: str, operation_id: str) -> str:
    return FORMATS["operation"].format(tuned_model_id, operation_id)


def format_permission(tuned_model_id: str, permission_id: str) -> str:
    return FORMATS["permission"].format(tuned_model_id, permission_id)


def format_model(model_id: str) -> str:
    return FORMATS["base_model"].format(model_id)


def parse_tuned_model(name: str) -> str:
    """Return the id in `tunedModels/ID`.

    Raises InvalidArgument for another shape, NotFound for an impossible id.
    """
    (tuned_model_id,) = _parse(name, "tunedModels")
    if not TUNED_MODEL_ID.fullmatch(tuned_model_id):
        raise no_tuned_model(name)
    return tuned_model_id


def parse_operation(name: str) -> tuple[str, str]:
    """Return the ids in `tunedModels/ID/operations/ID`. Raises as `parse_tuned_model` does."""
    tuned_model_id, operation_id = _parse(name, "tunedModels", "operations")
    if not TUNED_MODEL_ID.fullmatch(tuned_model_id) or not OPERATION_ID.fullmatch(operation_id):
        raise no_operation(name)
    return tuned_model_id, operation_id


def parse_permission(name: str) -> tuple[str, str]:
    """Return the ids in `tunedModels/ID/permissions/ID`. Raises as `parse_tuned_model` does."""
    tuned_model_id, permission_id = _parse(name, "tunedModels", "permissions")
    if not TUNED_MODEL_ID.fullmatch(tuned_model_id) or not PERMISSION_ID.fullmatch(permission_id):
        raise no_permission(name)
    return tuned_model_id, permission_id


def parse_model(name: str) -> str:
    """Return the id in `models/ID`. Raises InvalidArgument for another shape."""
    (model_id,) = _parse(name, "models")
    return model_id


def without_prefix(name: str) -> str:
    """Return `tunedModels/x` for `models/tunedModels/x`, as several clients write it; any other name as it is."""
    return name.removeprefix("models/") if name.startswith("models/tunedModels/") else name


def is_tuned_model(name: str) -> bool:
    """Tell whether the name says that it is a tuned model's; its shape is not checked."""
    return name.startswith("tunedModels/")


def no_tuned_model(name: str) -> NotFound:
    return NotFound(f"Tuned model {shown(name)} does not exist.")


def no_operation(name: str) -> NotFound:
    return NotFound(f"Operation {shown(name)} does not exist.")


def no_permission(name: str) -> NotFound:
    return NotFound(f"Permission {shown(name)} does not exist.")


def _parse(name: str, *collections: str) -> tuple[str, ...]:
    parts = name.split("/")
    if tuple(parts[0::2]) != collections or len(parts) % 2 or not all(parts):
        pattern = "/".join(f"{collection}/*" for collection in collections)
        raise InvalidArgument(f"{shown(name)!r} is not a resource name here; it must look like {pattern}.")
    return tuple(parts[1::2])
