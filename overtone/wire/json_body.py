"""JSON values to protobuf messages, with Google's laxness.

camelCase and snake_case mixed, enums by name or number, 64-bit integers as text or number, a lone value
where a list belongs, `null` for unset. Everything wrong with a body is told at once, each with its path, in
the words of Google's servers. protobuf's own json_format does the conversion, once a body is known to be
sound.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from overtone.errors import InvalidArgument
from overtone.wire import newer_fields
from overtone.wire.json_text import MAX_DEPTH
from overtone.wire.messages import MessageType, descriptor_of, to_pb
from overtone.wire.names import shown

BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
INVALID = "Invalid JSON payload received."
FIELD_MASK = "google.protobuf.FieldMask"
SURROGATE = re.compile("[\ud800-\udfff]")
TYPE_NAMES = {
    getattr(FieldDescriptor, name): name for name in dir(FieldDescriptor) if name.startswith("TYPE_")
}
INTEGER_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64),
}
HINTS = {
    "TuningExample": " An example has textInput and output.",
    "TuningExamples": " Examples are {examples: [{textInput, output}]}.",
}  # what is expected where people often send something else
MAX_VIOLATIONS = 20  # told at once; a hostile body may hold any number
MAX_FLOAT = 3.4028234663852886e38


def to_message(value: Any, kind: MessageType) -> Any:
    """Return the message that a JSON value says. Raises InvalidArgument naming every field that is wrong."""
    reader = _Reader()
    clean = reader.read_message(value, descriptor_of(kind), "")
    if reader.violations:
        raise _bad_request(reader.violations)
    message = kind()
    try:
        json_format.ParseDict(clean, to_pb(message), max_recursion_depth=MAX_DEPTH)
    except json_format.ParseError as error:
        raise InvalidArgument(f"{INVALID} {error}") from None
    return message


class _Reader:
    """Turns a JSON value into one that json_format takes without complaint, and collects what it cannot."""

    def __init__(self) -> None:
        self.violations: list[tuple[str, str]] = []  # path, description

    def read_message(self, value: Any, kind: Descriptor, path: str) -> Any:
        if kind.full_name == FIELD_MASK and isinstance(value, str):
            return ",".join(_camel(part.strip()) for part in value.split(","))
        if kind.full_name.startswith("google.protobuf."):
            return self.read_plain(value, path)
        if not isinstance(value, dict):
            return self.refuse_value(path, f"type.googleapis.com/{kind.full_name}", value)
        if path.count(".") > MAX_DEPTH:
            return self.refuse(path, f"{INVALID} Message too deep: more than {MAX_DEPTH} levels.")
        return self.read_fields(value, kind, path)

    def read_fields(self, value: Mapping[str, Any], kind: Descriptor, path: str) -> dict[str, Any]:
        fields, clean, chosen = fields_of(kind), {}, set[str]()
        for key, item in value.items():
            field = fields.get(key) or self.find_newer(key, item, kind, path)
            if field is None:
                continue
            if item is not None:
                self.notice_oneof(field, chosen, path)
                clean[field.name] = self.read_field(item, field, _join(path, field.name.rstrip("_")), path)
        if kind.name == "Schema" and isinstance(clean.get("properties"), dict):
            ordering = [*clean.get("property_ordering", ()), *clean["properties"]]
            clean["property_ordering"] = list(dict.fromkeys(ordering))  # a protobuf map has no order
        return clean

    def find_newer(self, key: str, item: Any, kind: Descriptor, path: str) -> FieldDescriptor | None:
        """Return the field that a newer spelling means; refuse what is neither that nor harmless."""
        newer = newer_fields.find(kind.full_name, key)
        if newer is None:
            self.refuse_name(path, key, f"Cannot find field.{HINTS.get(kind.name, '')}")
        elif newer.means:
            return fields_of(kind)[newer.means]
        elif item is not None and not newer.is_harmless(item):
            self.refuse(_join(path, key), newer.sentence)
        return None

    def read_plain(self, value: Any, path: str) -> Any:
        """Read free JSON: it must be what protobuf can hold, and properties keep their order in a list beside them."""
        problem = _find_unholdable(value)
        if problem:
            return self.refuse(path, f"Invalid value at '{path}' (google.protobuf.Value), {problem}")
        return with_ordering(value) if path.endswith("response_json_schema") else value

    def notice_oneof(self, field: FieldDescriptor, chosen: set[str], path: str) -> None:
        """Notice a second member of a oneof."""
        oneof = field.containing_oneof
        if oneof is None:
            return
        if oneof.name in chosen and len(oneof.fields) > 1:
            where = f" at '{path}'" if path else ""
            what = f"oneof field '{oneof.name}' is already set. Cannot set '{field.json_name}'"
            self.refuse(path, f"Invalid value{where} (oneof), {what}")
        chosen.add(oneof.name)

    def read_field(self, value: Any, field: FieldDescriptor, path: str, parent: str) -> Any:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return self.read_map(value, field.message_type.fields_by_name["value"], path)
        if field.is_repeated:
            items = value if isinstance(value, list) else [value]
            return [self.read_one(item, field, f"{path}[{index}]") for index, item in enumerate(items)]
        if isinstance(value, list) and not _takes_lists(field):
            return self.refuse_name(parent, field.name, "Proto field is not repeating, cannot start list.")
        return self.read_one(value, field, path)

    def read_map(self, value: Any, field: FieldDescriptor, path: str) -> Any:
        if not isinstance(value, dict):
            return self.refuse_value(path, "Map", value)
        items = enumerate(value.items())
        return {key: self.read_one(item, field, f"{path}[{index}].value") for index, (key, item) in items}

    def read_one(self, value: Any, field: FieldDescriptor, path: str) -> Any:
        if field.message_type is not None:
            return self.read_message(value, field.message_type, path)
        if field.enum_type is not None:
            if isinstance(value, str) and value.upper() in field.enum_type.values_by_name:
                return value.upper()
            if _is_enum_value(value, field.enum_type):
                return value
            return self.refuse_value(path, f"type.googleapis.com/{field.enum_type.full_name}", value)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL and value in ("true", "false"):
            return value == "true"
        if not _is_scalar(value, field):
            return self.refuse_value(path, TYPE_NAMES[field.type], value)
        return value

    def refuse(self, path: str, description: str) -> None:
        self.violations.append((path, description))

    def refuse_name(self, path: str, name: str, why: str) -> None:
        where = f" at '{path}'" if path else ""
        self.refuse(path, f'{INVALID} Unknown name "{shown(name)}"{where}: {why}')

    def refuse_value(self, path: str, kind: str, value: Any) -> None:
        if path:
            self.refuse(path, f"Invalid value at '{path}' ({kind}), {shown(json.dumps(value, default=str))}")
        else:
            self.refuse_name("", "", "Root element must be a message.")


def with_ordering(schema: Any) -> Any:
    """Return a JSON schema whose objects say the order of their properties: in a protobuf map it is lost."""
    if isinstance(schema, list):
        return [with_ordering(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    ordered = {key: with_ordering(value) for key, value in schema.items()}
    properties, wished = schema.get("properties"), schema.get("propertyOrdering", [])
    if isinstance(properties, dict) and isinstance(wished, list):
        ordered["properties"] = {name: with_ordering(inner) for name, inner in properties.items()}
        ordered["propertyOrdering"] = [
            *(name for name in dict.fromkeys(map(str, wished)) if name in properties),
            *(name for name in properties if name not in wished),
        ]
    return ordered


def _find_unholdable(value: Any, depth: int = 0) -> str:
    """Say what in free JSON a double or a message cannot hold; "" when nothing."""
    if depth > MAX_DEPTH:
        return f"more than {MAX_DEPTH} levels"
    if isinstance(value, dict):
        return next(filter(None, (_find_unholdable(item, depth + 1) for item in value.values())), "")
    if isinstance(value, list):
        return next(filter(None, (_find_unholdable(item, depth + 1) for item in value)), "")
    if isinstance(value, str) and SURROGATE.search(value):
        return "half of a surrogate pair"
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return "an integer that no double can hold"
        if number != number or abs(number) == float("inf"):
            return f"{shown(str(value))} is not a number that JSON has"
    return ""


def unknown_parameter(name: str) -> InvalidArgument:
    """Return the error for a query parameter that the request message lacks."""
    why = f"Cannot bind query parameter. Field '{shown(name)}' could not be found in request message."
    return _bad_request([("", f'{INVALID} Unknown name "{shown(name)}": {why}')])


@cache
def fields_of(kind: Descriptor) -> dict[str, FieldDescriptor]:
    """Return a message's fields under both of their spellings."""
    return {name: field for field in kind.fields for name in (field.name, field.json_name)}


def _bad_request(violations: list[tuple[str, str]]) -> InvalidArgument:
    if len(violations) > MAX_VIOLATIONS:
        more = f"… and {len(violations) - MAX_VIOLATIONS} more like these."
        violations = [*violations[:MAX_VIOLATIONS], ("", more)]
    shapes = [
        {"field": path, "description": text} if path else {"description": text} for path, text in violations
    ]
    details = {"@type": BAD_REQUEST, "fieldViolations": shapes}
    return InvalidArgument("\n".join(text for _, text in violations), [details])


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _camel(path: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), path)


def _takes_lists(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.full_name in ("google.protobuf.Value", "google.protobuf.ListValue")


def _is_enum_value(value: Any, kind: EnumDescriptor) -> bool:
    if isinstance(value, str):
        return value in kind.values_by_name
    return isinstance(value, int) and not isinstance(value, bool) and value in kind.values_by_number


def _is_scalar(value: Any, field: FieldDescriptor) -> bool:
    if field.cpp_type in INTEGER_RANGES:
        return _is_integer(value, *INTEGER_RANGES[field.cpp_type])
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return _is_float(value, field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return isinstance(value, bool)
    return isinstance(value, str) and not SURROGATE.search(value)


def _is_integer(value: Any, low: int, high: int) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"-?\d{1,20}", value, re.ASCII) is not None and low <= int(value) < high
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= value < high and value == int(value)


def _is_float(value: Any, single: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        number = abs(float(value))
    except (ValueError, OverflowError):
        return False
    return not single or number <= MAX_FLOAT or number in (float("inf"),) or number != number
