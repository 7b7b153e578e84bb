"""Messages as JSON schemas, from their protobuf descriptions: for the discovery document and for OpenAPI.

The two dialects differ in how they refer to another schema and in how they say "anything".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

F = FieldDescriptor
SCALARS: Mapping[int, dict[str, str]] = {
    F.TYPE_STRING: {"type": "string"},
    F.TYPE_BYTES: {"type": "string", "format": "byte"},
    F.TYPE_BOOL: {"type": "boolean"},
    F.TYPE_INT32: {"type": "integer", "format": "int32"},
    F.TYPE_UINT32: {"type": "integer", "format": "uint32"},
    F.TYPE_INT64: {"type": "string", "format": "int64"},
    F.TYPE_UINT64: {"type": "string", "format": "uint64"},
    F.TYPE_FLOAT: {"type": "number", "format": "float"},
    F.TYPE_DOUBLE: {"type": "number", "format": "double"},
}


@dataclass(frozen=True)
class Dialect:
    """How one kind of document writes what the kinds do not share."""

    reference: str  # what stands before the name of a schema in $ref
    anything: dict[str, Any]
    timestamp: str
    duration: str
    field_mask: str


DISCOVERY = Dialect("", {"type": "any"}, "google-datetime", "google-duration", "google-fieldmask")
OPENAPI = Dialect("#/components/schemas/", {}, "date-time", "duration", "field-mask")


@dataclass
class Schemas:
    """Collects the schema of every message that is asked for, and of every one inside it."""

    dialect: Dialect
    found: dict[str, dict[str, Any]] = field(default_factory=dict)

    def reference_to(self, kind: Descriptor) -> dict[str, Any]:
        """Return what stands for a message where it is used."""
        special = self._well_known(kind.full_name)
        if special is not None:
            return special
        name = _name_of(kind)
        if name not in self.found:
            self.found[name] = {}  # before its fields: a message may hold itself
            self.found[name] = self._schema_of(name, kind)
        return {"$ref": f"{self.dialect.reference}{name}"}

    def schema_of_field(self, spec: FieldDescriptor) -> dict[str, Any]:
        """Return the schema of one field."""
        if spec.message_type is not None and spec.message_type.GetOptions().map_entry:
            value = spec.message_type.fields_by_name["value"]
            return {"type": "object", "additionalProperties": self._schema_of_one(value)}
        one = self._schema_of_one(spec)
        return {"type": "array", "items": one} if spec.is_repeated else one

    def _schema_of(self, name: str, kind: Descriptor) -> dict[str, Any]:
        properties = {spec.json_name: self.schema_of_field(spec) for spec in kind.fields}
        identity = {"id": name} if self.dialect is DISCOVERY else {}
        return {**identity, "type": "object", "properties": properties}

    def _schema_of_one(self, spec: FieldDescriptor) -> dict[str, Any]:
        if spec.message_type is not None:
            return self.reference_to(spec.message_type)
        if spec.enum_type is not None:
            return {"type": "string", "enum": [value.name for value in spec.enum_type.values]}
        return dict(SCALARS[spec.type])

    def _well_known(self, full_name: str) -> dict[str, Any] | None:
        anything = self.dialect.anything
        known: dict[str, dict[str, Any]] = {
            "google.protobuf.Timestamp": {"type": "string", "format": self.dialect.timestamp},
            "google.protobuf.Duration": {"type": "string", "format": self.dialect.duration},
            "google.protobuf.FieldMask": {"type": "string", "format": self.dialect.field_mask},
            "google.protobuf.Any": {"type": "object", "additionalProperties": anything},
            "google.protobuf.Struct": {"type": "object", "additionalProperties": anything},
            "google.protobuf.ListValue": {"type": "array", "items": anything},
            "google.protobuf.Value": anything,
        }
        return known.get(full_name)


def _name_of(kind: Descriptor) -> str:
    outer = f"{_name_of(kind.containing_type)}" if kind.containing_type is not None else ""
    return f"{outer}{kind.name}"
