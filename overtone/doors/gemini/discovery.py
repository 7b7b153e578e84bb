"""Google's description of a REST API (developers.google.com/discovery), made from the table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from overtone.doors.gemini.bindings import Binding
from overtone.doors.gemini.messages import descriptor_of
from overtone.doors.gemini.path_templates import VARIABLE
from overtone.doors.gemini.schemas import DISCOVERY, Schemas

NAME = "generativelanguage"
COMMON_PARAMETERS = {
    "key": {"type": "string", "location": "query", "description": "API key."},
    "alt": {
        "type": "string",
        "location": "query",
        "description": "Data format of the answer.",
        "default": "json",
    },
    "prettyPrint": {"type": "boolean", "location": "query", "default": "true"},
    "fields": {"type": "string", "location": "query"},
    "$.xgafv": {"type": "string", "location": "query"},
}


def discovery_document(
    bindings: Sequence[Binding], version: str, root_url: str, title: str
) -> dict[str, Any]:
    """Return the discovery document of one version."""
    schemas = Schemas(DISCOVERY)
    resources: dict[str, Any] = {}
    for binding in bindings:
        owner: dict[str, Any] = {"resources": resources}
        for collection in binding.collections:
            owner = owner.setdefault("resources", {}).setdefault(collection, {})
        owner.setdefault("methods", {})[binding.short_name] = _discovery_method(binding, version, schemas)
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": f"{NAME}:{version}",
        "name": NAME,
        "version": version,
        "title": title,
        "protocol": "rest",
        "rootUrl": root_url,
        "servicePath": "",
        "baseUrl": root_url,
        "basePath": "",
        "batchPath": "batch",
        "parameters": COMMON_PARAMETERS,
        "resources": resources,
        "schemas": schemas.found,
    }


def _discovery_method(binding: Binding, version: str, schemas: Schemas) -> dict[str, Any]:
    rpc, variable = binding.rpc, binding.variable
    path = VARIABLE.sub(lambda found: f"{{+{_parameter_name(found)}}}", binding.template)
    method: dict[str, Any] = {
        "id": ".".join([NAME, *binding.collections, binding.short_name]),
        "path": f"{version}/{path}",
        "flatPath": f"{version}/{binding.flat_path}",
        "httpMethod": rpc.verb,
        "description": binding.description,
        "parameters": {spec.json_name: _query_parameter(spec, schemas) for spec in binding.query_fields},
        "parameterOrder": [_parameter_name(variable)] if variable else [],
        "response": schemas.reference_to(descriptor_of(rpc.reply)),
    }
    if variable:
        method["parameters"][_parameter_name(variable)] = _path_parameter(variable)
    if binding.body is not None:
        method["request"] = schemas.reference_to(binding.body)
    return method


def _query_parameter(spec: FieldDescriptor, schemas: Schemas) -> dict[str, Any]:
    return {"location": "query", **schemas.schema_of_field(spec)}


def _path_parameter(variable: re.Match[str]) -> dict[str, Any]:
    pattern = variable[2].replace("*", "[^/]+")
    return {"location": "path", "required": True, "type": "string", "pattern": f"^{pattern}$"}


def _parameter_name(variable: re.Match[str]) -> str:
    """Return what Google's documents call a path's variable: `tuned_model.name` is `name`."""
    return variable[1].rpartition(".")[2]
