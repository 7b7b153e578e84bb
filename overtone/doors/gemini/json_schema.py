"""Response schemas as JSON schema, for constrained decoding.

The API has two: `response_schema`, a subset of OpenAPI 3.0, and `response_json_schema`. Both list the
properties that the caller wants, in the order in which it wants them. An object gets those and no others, unless
the schema says otherwise: a small model would go on inventing properties until its tokens run out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from overtone.doors.gemini.json_reply import from_message
from overtone.errors import refuse

CONFIG = "generation_config"
NUMBERS_AS_TEXT = (
    "maxItems", "minItems", "minProperties", "maxProperties", "minLength", "maxLength",
)  # fmt: skip
LEFT_OUT = ("nullable", "example", "default")
FORMATS = {
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid",
}  # fmt: skip
"""Those that the engine can write; any other `format` is a note to the reader, as JSON schema says."""
MAX_SAFE_INTEGER = 2**53 - 1
LIMITING = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "enum", "const"}
COMPOSING = {"anyOf", "oneOf", "$ref"}
ENTANGLING = {"allOf", "not", "if", "dependentSchemas"}
OPENING = {"additionalProperties", "patternProperties", "unevaluatedProperties", "propertyNames"}
SCHEMAS_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


def to_json_schema(config: Any) -> dict[str, Any]:
    """Return the schema of a GenerationConfig (the plain message) that has one, in either of its fields.

    Raises InvalidArgument for one that is no JSON object.
    """
    field = "response_schema" if config.HasField("response_schema") else "response_json_schema"
    try:
        schema = _read(config, field)
    except (ValueError, RecursionError):
        raise refuse(f"{CONFIG}.{field}", "is not JSON, which has no NaN and no infinite number.") from None
    if not isinstance(schema, dict):
        raise refuse(f"{CONFIG}.{field}", f"is {json.dumps(schema)[:100]}; it must be a JSON object.")
    schemas = list(_schemas_in(schema))
    for each in schemas:
        if str(each.get("format")) not in FORMATS:
            each.pop("format", None)
        _order(each, each.pop("propertyOrdering", None))
        _bound(each)
    _close(schemas)
    return schema


def _order(schema: dict[str, Any], wished: Any) -> None:
    """Put the properties into the wished order; those left out follow as they were sent."""
    properties = schema.get("properties")
    if isinstance(properties, dict) and isinstance(wished, list):
        names = dict.fromkeys([*map(str, wished), *properties])
        schema["properties"] = {name: properties[name] for name in names if name in properties}


def _bound(schema: dict[str, Any]) -> None:
    """Let an integer that has no limits be one that every reader of JSON holds exactly: its digits have an end."""
    if schema.get("type") in ("integer", ["integer", "null"]) and not LIMITING & schema.keys():
        schema["minimum"], schema["maximum"] = -MAX_SAFE_INTEGER, MAX_SAFE_INTEGER


def _close(schemas: list[dict[str, Any]]) -> None:
    """Let objects have no properties but the listed ones.

    Where a schema is put together from several that each list a part of the properties, all stay open: each
    would refuse the others' part.
    """
    if any(
        ENTANGLING & each.keys() or ("properties" in each and COMPOSING & each.keys()) for each in schemas
    ):
        return
    for each in schemas:
        if _may_close(each):
            each["additionalProperties"] = False


def _read(config: Any, field: str) -> Any:
    if field == "response_schema":
        return _convert(from_message(config.response_schema))
    if config.HasField("response_json_schema"):
        return from_message(config.response_json_schema)
    ordered = from_message(config.response_json_schema_ordered)
    return (
        json.loads(ordered) if isinstance(ordered, str) else ordered
    )  # doors.gemini.json_body keeps it as text


def _may_close(schema: dict[str, Any]) -> bool:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or OPENING & schema.keys():
        return False
    required = schema.get("required")
    unlisted = (
        [name for name in required if str(name) not in properties] if isinstance(required, list) else []
    )
    fewest = schema.get("minProperties", 0)
    return not unlisted and not (isinstance(fewest, int) and fewest > len(properties))


def _schemas_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema within a schema, itself first. What is no schema, such as an enum, is not entered."""
    if not isinstance(value, dict):
        return
    yield value
    for key, inner in value.items():
        if key in SCHEMAS_BY_NAME and isinstance(inner, dict):
            children = list(inner.values())
        elif key in ("enum", "const", "default", "example", "examples", "required"):
            children = []
        else:
            children = inner if isinstance(inner, list) else [inner]
        for child in children:
            yield from _schemas_in(child)


def _convert(schema: dict[str, Any]) -> dict[str, Any]:
    converted = {key: value for key, value in schema.items() if key not in LEFT_OUT}
    for name in NUMBERS_AS_TEXT:
        if name in converted:
            converted[name] = int(converted[name])
    if "type" in converted:
        converted["type"] = converted["type"].lower()
    if "items" in converted:
        converted["items"] = _convert(converted["items"])
    if "anyOf" in converted:
        converted["anyOf"] = [_convert(option) for option in converted["anyOf"]]
    if "properties" in converted:
        converted["properties"] = {name: _convert(inner) for name, inner in converted["properties"].items()}
    return {"anyOf": [converted, {"type": "null"}]} if schema.get("nullable") else converted
