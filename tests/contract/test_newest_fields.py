"""The newest published client beside our messages: what it may send is known, or newer, or refused on purpose."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor

from overtone.doors.gemini import messages as m
from overtone.doors.gemini.json_body import fields_of
from overtone.doors.gemini.newer_fields import ENUM_VALUES, FIELDS
from overtone.doors.gemini.rpcs import RPCS
from tests.contract.environments import PROGRAMS, python_in, run

pytestmark = pytest.mark.slow

PACKAGE = "google.ai.generativelanguage.v1beta."
OTHER_NAMES = {
    "GenerationConfig.Modality": "Modality",
    "FunctionCallingConfig.Mode": "FunctionCallingConfigMode",
    "SafetySetting.HarmBlockThreshold": "HarmBlockThreshold",
    "GenerationConfig.MediaResolution": "MediaResolution",
    "Tool.ComputerUse.Environment": "Environment",
    "Tool.ComputerUse": "ComputerUse",
    "Tool.GoogleSearch": "GoogleSearch",
}  # a message or an enum of ours → the client's class
NOT_THE_SAME = ("TunedModel", "FunctionDeclaration.Behavior")  # the name means another thing there
CLIENTS_OWN = {"httpOptions", "shouldReturnHttpResponse", "automaticFunctionCalling", "automaticContinuation"}
REFUSED = {
    "Schema": {"additionalProperties", "defs", "ref"},
    "GenerationConfig": {"audioTimestamp", "generationOutputConfig", "modelArmorConfig", "modelSelectionConfig",
                         "routingConfig"},
    "ImageConfig": {"outputMimeType", "personGeneration"},
}  # by Google as well  # fmt: skip


@pytest.fixture(scope="module")
def newest() -> dict[str, Any]:
    return json.loads(run([python_in("google-genai-newest"), PROGRAMS / "newest_fields.py"]))


def kinds_within(kind: Descriptor, found: dict[str, Any]) -> dict[str, Any]:
    """Add a message with all messages and enums inside it, by the names that the client gives them."""
    name = client_name(kind)
    if name not in found:
        found[name] = kind
        for field in kind.fields:
            if field.message_type is not None:
                kinds_within(field.message_type, found)
            elif field.enum_type is not None:
                found[client_name(field.enum_type)] = field.enum_type
    return found


def client_name(kind: Descriptor | EnumDescriptor) -> str:
    name = kind.full_name.removeprefix(PACKAGE)
    return OTHER_NAMES.get(name, name)


OURS: dict[str, Any] = {}
for rpc in RPCS:
    kinds_within(m.descriptor_of(rpc.request), OURS)
MESSAGES = [name for name, kind in OURS.items() if isinstance(kind, Descriptor) and name not in NOT_THE_SAME]
ENUMS = [name for name, kind in OURS.items() if isinstance(kind, EnumDescriptor)]


def known(name: str) -> set[str]:
    return {*fields_of(OURS[name]), *FIELDS.get(name, {}), *REFUSED.get(name, ())}


def test_every_field_of_every_message_is_known(newest: dict[str, Any]) -> None:
    unknown = {name: set(newest["fields"].get(name, ())) - known(name) for name in MESSAGES}
    assert {name: fields for name, fields in unknown.items() if fields} == {}


def test_every_field_of_the_configuration_is_known(newest: dict[str, Any]) -> None:
    fields = set(newest["fields"]["GenerateContentConfig"])
    assert fields - known("GenerateContentRequest") - known("GenerationConfig") == CLIENTS_OWN


def test_every_field_of_an_update_is_known(newest: dict[str, Any]) -> None:
    assert set(newest["fields"]["UpdateModelConfig"]) - known("TunedModel") <= CLIENTS_OWN


def test_every_value_of_every_enum_is_known(newest: dict[str, Any]) -> None:
    unknown = {
        name: set(newest["values"].get(name, ()))
        - {*OURS[name].values_by_name}
        - {*ENUM_VALUES.get(name, ())}
        for name in ENUMS
    }
    assert {name: values for name, values in unknown.items() if values} == {}


def test_what_became_known_is_no_longer_newer() -> None:
    for name, fields in FIELDS.items():
        assert not {*fields_of(OURS[name])} & {*fields}, name
