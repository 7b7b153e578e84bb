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
        return _in_order(from_message(config.response_json_schema))
    return _convert(from_message(config.response_schema))


def choices_of(config: Any) -> list[str]:
    """Return the texts that a schema for text/x.enum allows, in either of its fields; none for another kind."""
    schema = to_json_schema(config)
    found = schema.get("enum", []) if isinstance(schema, dict) else []
    return [choice for choice in found if isinstance(choice, str)]


def _convert(schema: dict[str, Any]) -> dict[str, Any]:
    """Translate one level and those inside. An object has the properties listed and no others."""
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
        properties = _ordered(schema["properties"], schema)
        converted["properties"] = {name: _convert(inner) for name, inner in properties.items()}
        converted["additionalProperties"] = False
    return {"anyOf": [converted, {"type": "null"}]} if schema.get("nullable") else converted


def _ordered(properties: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the properties as propertyOrdering asks for; the model writes them in that order."""
    order = [name for name in schema.get("propertyOrdering", ()) if name in properties]
    rest = [name for name in properties if name not in order]
    return {name: properties[name] for name in (*order, *rest)}


def _in_order(schema: Any) -> Any:
    """Return a JSON schema with its properties in the order that stands beside them, and without that."""
    if isinstance(schema, list):
        return [_in_order(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _in_order(value) for key, value in schema.items() if key != "propertyOrdering"}
    if isinstance(schema.get("properties"), dict):
        properties = _ordered(schema["properties"], schema)
        inner["properties"] = {name: _in_order(value) for name, value in properties.items()}
    return inner
