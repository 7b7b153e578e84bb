"""An OpenAPI 3.1 description of the API, made from the table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from overtone.doors.gemini.bindings import Binding
from overtone.doors.gemini.messages import descriptor_of
from overtone.doors.gemini.schemas import OPENAPI, Schemas


def openapi_document(bindings: Sequence[Binding], title: str, version: str = "v1beta") -> dict[str, Any]:
    """Return an OpenAPI 3.1 description; one version stands for all."""
    schemas = Schemas(OPENAPI)
    paths: dict[str, Any] = {}
    for binding in bindings:
        path = paths.setdefault(binding.path, {})
        path[binding.rpc.verb.lower()] = _openapi_operation(binding, schemas)
    key = {"type": "apiKey", "in": "header", "name": "x-goog-api-key"}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": schemas.found, "securitySchemes": {"key": key}},
        "security": [{}, {"key": []}],
    }


def _openapi_operation(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    rpc = binding.rpc
    path_names = re.findall(r"\{(\w+)\}", binding.flat_path)
    in_path = [_parameter(name, "path", {"type": "string"}) for name in path_names]
    in_query = [_parameter(s.json_name, "query", schemas.schema_of_field(s)) for s in binding.query_fields]
    operation: dict[str, Any] = {
        "operationId": ".".join([*binding.collections, binding.short_name]),
        "tags": [rpc.service],
        "description": binding.description,
        "parameters": [*in_path, *in_query],
        "responses": {"200": _content("The answer.", schemas.reference_to(descriptor_of(rpc.reply)))},
    }
    if rpc.streams:
        operation["responses"]["200"] = _content(
            "The answer, piece by piece.",
            {"type": "array", "items": schemas.reference_to(descriptor_of(rpc.reply))},
        )
    if binding.body is not None:
        operation["requestBody"] = _content("", schemas.reference_to(binding.body))
    operation["responses"]["default"] = _content("An error in Google's shape.", {"type": "object"})
    return operation


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    described = {"description": description} if description else {}
    return {**described, "content": {"application/json": {"schema": schema}}}
