"""Protobuf messages to JSON values: camelCase, enum names, 64-bit integers as text, defaults omitted.

The result is that of protobuf's own json_format, which the tests hold it against, several times as fast:
how each field of a message is written is worked out once.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message as PbMessage

from overtone.doors.gemini.messages import Message, to_pb
from overtone.float32 import shortest

Write = Callable[[Any], Any]
WHOLE_FLOATS_BELOW = 1e15


def from_message(message: Message) -> dict[str, Any]:
    """Return the JSON value of a message."""
    return _from_pb(to_pb(message))


def _from_pb(message: PbMessage) -> Any:
    kind = message.DESCRIPTOR
    special = _special(kind)
    if special is not None:
        return special(message)
    writers = _writers(kind)
    value = {}
    for field, content in message.ListFields():
        name, write = writers[field.number]
        value[name] = write(content)
    return value


@cache
def _writers(kind: Descriptor) -> dict[int, tuple[str, Write]]:
    """Return, by number, the JSON name of each field and the function that writes its value."""
    return {field.number: (field.json_name, _writer(field)) for field in kind.fields}


def _writer(field: FieldDescriptor) -> Write:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        write = _writer_of_one(field.message_type.fields_by_name["value"])
        return lambda items: {str(key): write(items[key]) for key in items}
    write = _writer_of_one(field)
    return (lambda items: [write(item) for item in items]) if field.is_repeated else write


def _writer_of_one(field: FieldDescriptor) -> Write:
    if field.enum_type is not None:
        return _writer_of_enum(field.enum_type)
    writers: dict[int, Write] = {
        FieldDescriptor.TYPE_MESSAGE: _from_pb,
        FieldDescriptor.TYPE_INT64: str,
        FieldDescriptor.TYPE_UINT64: str,
        FieldDescriptor.TYPE_FLOAT: lambda value: _from_float(value, shortest),
        FieldDescriptor.TYPE_DOUBLE: lambda value: _from_float(value, float),
        FieldDescriptor.TYPE_BYTES: lambda value: b64encode(value).decode(),
    }
    return writers.get(field.type, _same)


def _writer_of_enum(kind: EnumDescriptor) -> Write:
    names = {value.number: value.name for value in kind.values}
    return lambda number: names.get(number, number)


def _same(value: Any) -> Any:
    return value


def _from_float(value: float, shorten: Callable[[float], float]) -> int | float | str:
    """Return a number as Google writes it: 1 for 1.0."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if value == int(value) and abs(value) < WHOLE_FLOATS_BELOW:
        return int(value)
    return shorten(value)


@cache
def _special(kind: Descriptor) -> Write | None:
    """Return how a message of google.protobuf is written, which has a form of its own; None for any other."""
    if not kind.full_name.startswith("google.protobuf."):
        return None
    if kind.full_name == "google.protobuf.Timestamp":
        return _from_timestamp
    return _from_any if kind.full_name == "google.protobuf.Any" else json_format.MessageToDict


def _from_timestamp(message: Any) -> str:
    """Return the moment in RFC 3339 with as many digits as it needs: 0, 3, 6 or 9."""
    whole = datetime.fromtimestamp(message.seconds, UTC).isoformat()[:19]
    nanos: int = message.nanos
    if nanos == 0:
        return f"{whole}Z"
    if nanos % 1000:
        return f"{whole}.{nanos:09}Z"
    return f"{whole}.{nanos // 1000:06}Z" if nanos % 1_000_000 else f"{whole}.{nanos // 1_000_000:03}Z"


def _from_any(message: Any) -> dict[str, Any]:
    inner = _inner_kind(message.TypeName())()
    message.Unpack(inner)
    return {"@type": message.type_url, **_from_pb(inner)}


@cache
def _inner_kind(full_name: str) -> Any:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full_name))
