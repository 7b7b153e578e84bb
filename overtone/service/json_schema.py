"""The API's response schema (a subset of OpenAPI 3.0) as JSON schema, for constrained decoding."""

from __future__ import annotations

from typing import Any

from overtone.wire.json_reply import from_message

NUMBERS_AS_TEXT = (
    "maxItems", "minItems", "minProperties", "maxProperties", "minLength", "maxLength",
)  # fmt: skip
LEFT_OUT = ("nullable", "example", "propertyOrdering", "default")


def to_json_schema(config: Any) -> Any:
    """Return the schema of a GenerationConfig (the plain message) that has one, in either of its fields."""
    if config.HasField("response_json_schema"):
        return from_message(config.response_json_schema)
    return _convert(from_message(config.response_schema))


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
        converted["properties"] = _properties(schema)
    return {"anyOf": [converted, {"type": "null"}]} if schema.get("nullable") else converted


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the properties as propertyOrdering asks for; the model writes them in that order."""
    properties = schema["properties"]
    order = [name for name in schema.get("propertyOrdering", ()) if name in properties]
    rest = [name for name in properties if name not in order]
    return {name: _convert(properties[name]) for name in (*order, *rest)}
