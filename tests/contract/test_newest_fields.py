"""The newest google-genai writes no field that we have not heard of, so that the next one is noticed."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor

from overtone.wire import messages as m
from overtone.wire import newer_fields
from overtone.wire.json_body import fields_of
from overtone.wire.messages import descriptor_of
from overtone.wire.rpcs import PACKAGE
from tests.contract.environments import python_in

pytestmark = pytest.mark.slow

WRITERS = re.compile(r"^def _(\w+)_to_mldev\((.*?)(?=^def |^class )", re.DOTALL | re.MULTILINE)
WRITES = re.compile(r"setv\(\s*(to_object|parent_object),\s*\[(.*?)\]", re.DOTALL)
MESSAGES = {
    ("Content", "to_object"): "Content",
    ("CreateTuningJobConfig", "parent_object"): "TunedModel",
    ("FunctionCall", "to_object"): "FunctionCall",
    ("FunctionCallingConfig", "to_object"): "FunctionCallingConfig",
    ("GenerateContentConfig", "to_object"): "GenerationConfig",
    ("GenerateContentConfig", "parent_object"): "GenerateContentRequest",
    ("ImageConfig", "to_object"): "ImageConfig",
    ("Part", "to_object"): "Part",
    ("SafetySetting", "to_object"): "SafetySetting",
    ("Tool", "to_object"): "Tool",
    ("ToolConfig", "to_object"): "ToolConfig",
    ("UpdateModelConfig", "parent_object"): "TunedModel",
}  # which message the client writes in which of its converters


def test_every_field_of_the_newest_client_is_known():
    package = next(Path(python_in("google-genai-newest")).parents[1].glob("lib/*/site-packages/google/genai"))
    source = (package / "models.py").read_text() + (package / "tunings.py").read_text()
    written = {
        (writer, where, names[0])
        for writer, body in WRITERS.findall(source)
        for where, path in WRITES.findall(body)
        if (names := re.findall(r"'(\w+)'", path)) and (writer, where) in MESSAGES
    }
    assert len(written) > 60, "the client is no longer written as this test reads it"
    unknown = {f"{writer}: {name}" for writer, where, name in written if not is_known(writer, where, name)}
    assert not unknown, "see wire/newer_fields.py"


def kind_called(name: str) -> Descriptor:
    found: Descriptor = descriptor_of(m.Content).file.pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
    return found


def is_known(writer: str, where: str, name: str) -> bool:
    kind = kind_called(MESSAGES[writer, where])
    return name in fields_of(kind) or newer_fields.find(kind.full_name, name) is not None


def test_no_field_is_called_newer_that_the_messages_have():
    kinds = {name: kind_called(name) for name in MESSAGES.values()}
    both = chain.from_iterable(
        (f"{name}.{field}" for field in fields if field in fields_of(kinds[name]))
        for name, fields in newer_fields.NEWER_FIELDS.items()
        if name in kinds
    )
    assert not list(both)
