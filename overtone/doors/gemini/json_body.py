"""JSON values to protobuf messages, with Google's laxness.

camelCase and snake_case mixed, enums by name in any case or by number, 64-bit integers as text or number, a
lone value where a list belongs, `null` for unset; fields that are newer than our messages as their table says
(doors.gemini.newer_fields). Everything wrong with a body is told at once, each with its path, in the words of Google's
servers. protobuf's own json_format does the conversion, once a body is known to be sound.

A protobuf map forgets the order of its keys, and the order of a schema's properties is the order in which a
model writes them. So it is kept where the messages have room for it: `property_ordering` of a Schema, and for
a JSON schema its text in `response_json_schema_ordered`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from overtone.doors.gemini.errors import BadRequest
from overtone.doors.gemini.json_text import MAX_DEPTH
from overtone.doors.gemini.messages import MessageType, descriptor_of, to_pb
from overtone.doors.gemini.newer_fields import ENUM_VALUES, Newer, find_newer
from overtone.errors import InvalidArgument, shown

INVALID = "Invalid JSON payload received."
FIELD_MASK = "google.protobuf.FieldMask"
FREE_FORM = ("google.protobuf.Value", "google.protobuf.Struct", "google.protobuf.ListValue")
HINTS = {
    "TuningExample": "An example has textInput and output.",
    "TuningExamples": "Examples are {examples: [{textInput, output}]}.",
    "Dataset": "Training data are {examples: {examples: [{textInput, output}]}}.",
}  # what is expected where people often send something else
ALIASES = {"GenerationConfig": {"_responseJsonSchema": "response_json_schema"}}  # what only JSON calls so
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
MAX_VIOLATIONS = 20  # told at once; a hostile body may hold any number
MAX_FLOAT = 3.4028234663852886e38


def to_message(value: Any, kind: MessageType, model: str = "this model") -> Any:
    """Return the message that a JSON value says. Raises InvalidArgument naming every field that is wrong.

    `model` is the name that the request is for, as sentences about it say it; "" when nothing of it is wanted, so
    that newer fields are not refused.
    """
    reader = _Reader(model)
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

    def __init__(self, model: str) -> None:
        self.model = shown(model)
        self.violations: list[tuple[str, str]] = []  # path, description

    def read_message(self, value: Any, kind: Descriptor, path: str) -> Any:
        if kind.full_name == FIELD_MASK and isinstance(value, str):
            return ",".join(_camel(part.strip()) for part in value.split(","))
        if kind.full_name in FREE_FORM:
            return self.read_free(value, f"type.googleapis.com/{kind.full_name}", path)
        if kind.full_name.startswith("google.protobuf."):
            return value
        if not isinstance(value, dict):
            return self.refuse_value(path, f"type.googleapis.com/{kind.full_name}", value)
        if path.count(".") > MAX_DEPTH:
            return self.refuse(path, f"{INVALID} Message too deep: more than {MAX_DEPTH} levels.")
        return self.read_fields(value, kind, path)

    def read_fields(self, value: Mapping[str, Any], kind: Descriptor, path: str) -> dict[str, Any]:
        fields, clean, chosen = fields_of(kind), {}, set[str]()
        for key, item in value.items():
            field, newer = fields.get(key), find_newer(kind.name, key)
            if field is None and newer is None:
                self.refuse_name(path, key, f"Cannot find field. {HINTS.get(kind.name, '')}".strip())
            elif field is None and newer is not None:
                self.read_newer(item, newer, _join(path, key))
            elif field is not None and item is not None:
                self.notice_oneof(field, chosen, path)
                clean[field.name] = self.read_field(item, field, _join(path, _spoken(field)), path)
        return _with_order(clean, kind)

    def read_newer(self, value: Any, newer: Newer, path: str) -> None:
        if self.model and newer.refuses(value):
            self.refuse(path, newer.refusal.format(model=self.model))

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
            return self.refuse_name(
                parent, _spoken(field), "Proto field is not repeating, cannot start list."
            )
        return self.read_one(value, field, path)

    def read_map(self, value: Any, field: FieldDescriptor, path: str) -> Any:
        if not isinstance(value, dict):
            return self.refuse_value(path, "Map", value)
        for index, key in enumerate(value):
            if SURROGATE.search(key):
                self.refuse_value(f"{path}[{index}].key", "TYPE_STRING", key)
        return {
            key: self.read_one(item, field, f"{path}[{index}].value")
            for index, (key, item) in enumerate(value.items())
        }

    def read_free(self, value: Any, kind: str, path: str, depth: int = 0) -> Any:
        """Read JSON that may be anything, as far as protobuf can hold it: its numbers are finite doubles."""
        if depth > MAX_DEPTH:
            return self.refuse(path, f"{INVALID} Message too deep: more than {MAX_DEPTH} levels.")
        if isinstance(value, dict):
            return {
                self.read_free(key, kind, path): self.read_free(
                    item, kind, _join(path, shown(key)), depth + 1
                )
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.read_free(item, kind, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        if isinstance(value, str) and SURROGATE.search(value):
            return self.refuse_value(path, kind, value)
        if isinstance(value, int | float) and not _is_finite(value):
            return self.refuse_value(path, kind, value)
        return value

    def read_one(self, value: Any, field: FieldDescriptor, path: str) -> Any:
        if field.message_type is not None:
            return self.read_message(value, field.message_type, path)
        if field.enum_type is not None:
            return self.read_enum(value, field.enum_type, path)
        if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL and value in ("true", "false"):
            return value == "true"
        if not _is_scalar(value, field):
            return self.refuse_value(path, TYPE_NAMES[field.type], value)
        return value

    def read_enum(self, value: Any, kind: EnumDescriptor, path: str) -> Any:
        name = value.upper().replace("-", "_") if isinstance(value, str) else value
        if _is_enum_value(name, kind):
            return name
        newer = ENUM_VALUES.get(kind.name, {}).get(str(name))
        if newer is not None:
            return self.read_newer(name, newer, path)
        return self.refuse_value(path, f"type.googleapis.com/{kind.full_name}", value)

    def refuse(self, path: str, description: str) -> None:
        self.violations.append((path, description))

    def refuse_name(self, path: str, name: str, why: str) -> None:
        where = f" at '{path}'" if path else ""
        self.refuse(path, f'{INVALID} Unknown name "{shown(name)}"{where}: {why}')

    def refuse_value(self, path: str, kind: str, value: Any) -> None:
        if path:
            self.refuse(path, f"Invalid value at '{path}' ({kind}), {_quoted(value)}")
        else:
            self.refuse_name("", "", "Root element must be a message.")


def unknown_parameter(name: str) -> InvalidArgument:
    """Return the error for a query parameter that the request message lacks."""
    why = f"Cannot bind query parameter. Field '{shown(name)}' could not be found in request message."
    return _bad_request([("", f'{INVALID} Unknown name "{shown(name)}": {why}')])


@cache
def fields_of(kind: Descriptor) -> dict[str, FieldDescriptor]:
    """Return a message's fields under all of their spellings."""
    fields = {name: field for field in kind.fields for name in (field.name, field.json_name)}
    aliases = ALIASES.get(kind.name, {})
    return {**fields, **{alias: fields[name] for alias, name in aliases.items()}}


def _bad_request(violations: list[tuple[str, str]]) -> InvalidArgument:
    if len(violations) > MAX_VIOLATIONS:
        more = f"… and {len(violations) - MAX_VIOLATIONS} more like these."
        violations = [*violations[:MAX_VIOLATIONS], ("", more)]
    return BadRequest(violations)


def _with_order(clean: dict[str, Any], kind: Descriptor) -> dict[str, Any]:
    """Write down the order of a schema's properties, which the message's map will forget."""
    if kind.name == "Schema" and isinstance(clean.get("properties"), dict):
        names = dict.fromkeys([*(clean.get("property_ordering") or ()), *clean["properties"]])
        clean["property_ordering"] = list(names)
    if kind.name == "GenerationConfig" and "response_json_schema" in clean:
        clean["response_json_schema_ordered"] = json.dumps(clean.pop("response_json_schema"))
    return clean


def _spoken(field: FieldDescriptor) -> str:
    """Return a field's name as Google says it: `type`, where the Python messages have `type_`."""
    return field.name.removesuffix("_")


def _quoted(value: Any) -> str:
    """Return a value as JSON, short enough for an error."""
    try:
        return shown(json.dumps(value, default=str))
    except ValueError:  # an integer of more digits than Python writes
        return "a number of thousands of digits"


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


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every double
        return False


def _is_float(value: Any, single: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        number = abs(float(value))
    except (ValueError, OverflowError):
        return False
    return not single or number <= MAX_FLOAT or number in (float("inf"),) or number != number
