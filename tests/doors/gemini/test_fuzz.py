"""Whatever is sent, somebody else's mistake never becomes an error of ours."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from overtone.doors.gemini.messages import descriptor_of
from overtone.doors.gemini.rpcs import RPCS, Rpc
from tests.doors.gemini.test_model_service import create

NUM_TRIES = 12
WITH_BODY = [rpc for rpc in RPCS if rpc.body and not rpc.instead]
texts = st.text(max_size=12) | st.sampled_from(
    ["tunedModels/a", "models/tiny", "operations", "..", "a" * 300, "\x00"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def bodies(kind: Descriptor, depth: int = 4) -> st.SearchStrategy[Any]:
    """Bodies that look like a message: its own fields, each with something plausible or anything at all."""
    if not depth:
        return st.just({})
    return st.fixed_dictionaries(
        {}, optional={field.json_name: values(field, depth) for field in kind.fields}
    )


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        kind = field.message_type
        one = st.deferred(lambda: bodies(kind, depth - 1))
    elif field.enum_type is not None:
        one = st.sampled_from([value.name for value in field.enum_type.values])
    else:
        one = scalars
    likely = st.lists(one, max_size=2) if field.is_repeated else one
    return st.one_of(likely, likely, likely, anything)


def body_of(rpc: Rpc) -> Descriptor:
    request = descriptor_of(rpc.request)
    return request if rpc.body == "*" else request.fields_by_name[rpc.body].message_type


def path_of(rpc: Rpc) -> str:
    template = (rpc.templates + rpc.ours)[-1]
    pattern = template.partition("=")[2] or template
    return pattern.replace("}", "").replace("*", "a")


@pytest.mark.parametrize("rpc", WITH_BODY, ids=lambda rpc: rpc.method)
def test_no_body_is_an_error_of_ours(rest: TestClient, rpc: Rpc) -> None:
    create(rest)

    @settings(max_examples=NUM_TRIES)
    @given(bodies(body_of(rpc)) | anything)
    def send(body: Any) -> None:
        reply = rest.request(rpc.verb, f"/v1/{path_of(rpc)}", content=json.dumps(body).encode())
        assert reply.status_code < 500 or reply.status_code == 501, reply.text

    send()


@settings(max_examples=4 * NUM_TRIES)
@given(
    verb=st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
    ids=st.lists(texts, min_size=1, max_size=3),
    suffix=st.sampled_from(
        ["", ":generateContent", ":cancel", "/permissions", "/operations", "/operations/x"]
    ),
    query=st.dictionaries(
        st.sampled_from(["pageSize", "pageToken", "filter", "updateMask", "tunedModelId"]), texts
    ),
)
def test_no_address_is_an_error_of_ours(
    rest: TestClient, verb: str, ids: list[str], suffix: str, query: Any
) -> None:
    path = "/".join(quote(part, safe="") for part in ids)
    reply = rest.request(verb, f"/v1/tunedModels/{path}{suffix}", params=query)
    assert reply.status_code < 500 or reply.status_code == 501, reply.text
