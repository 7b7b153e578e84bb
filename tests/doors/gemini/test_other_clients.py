"""What other published clients send, through the whole service: each is answered as Google's servers would."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.doors.gemini import rest_door
from overtone.service.access import Access
from tests.doors.gemini.conftest import HOME
from tests.doors.gemini.fakes import BASE, EchoEngine

ASK = {"contents": [{"role": "user", "parts": [{"text": "one"}]}]}
URL = f"/v1beta/models/{BASE}:generateContent"
COUNT = f"/v1beta/models/{BASE}:countTokens"
HISTORY = [
    {"role": "user", "parts": [{"text": "one"}]},
    {"role": "model", "parts": [{"text": "two"}]},
]
PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "number"}}}


def message_of(reply: Any) -> str:
    return str(reply.json()["error"]["message"])


def create(rest: TestClient, model_id: str = "a") -> None:
    pairs = {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}
    body = {"baseModel": f"models/{BASE}", "tuningTask": {"trainingData": pairs}}
    assert rest.post(f"/v1beta/tunedModels?tunedModelId={model_id}", json=body).status_code == 200


# --- a browser -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", ["x-server-timeout,user-agent", "x-stainless-lang", "x-of-next-year"])
def test_a_named_origin_may_send_any_header(
    servicers: Mapping[str, object], access: Access, settings: Settings, headers: str
) -> None:
    named = replace(settings, cors_origins="https://studio.example")
    ask = {"access-control-request-method": "POST", "access-control-request-headers": headers}
    with TestClient(rest_door.build(servicers, access.authenticate, named), base_url=HOME) as client:
        ours = client.options(URL, headers={"origin": "https://studio.example", **ask})
        foreign = client.options(URL, headers={"origin": "https://elsewhere.example", **ask})
    assert ours.status_code == 200
    assert set(headers.split(",")) <= set(re.split(", ?", ours.headers["access-control-allow-headers"]))
    assert foreign.status_code == 400 and "access-control-allow-origin" not in foreign.headers


def test_a_named_origin_may_call_from_a_public_network(
    servicers: Mapping[str, object], access: Access, settings: Settings
) -> None:
    named = replace(settings, cors_origins="https://studio.example")
    ask = {"access-control-request-method": "POST", "access-control-request-private-network": "true"}
    with TestClient(rest_door.build(servicers, access.authenticate, named), base_url=HOME) as client:
        reply = client.options(URL, headers={"origin": "https://studio.example", **ask})
    assert (reply.status_code, reply.headers["access-control-allow-private-network"]) == (200, "true")


# --- schemas ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"responseMimeType": "application/json", "responseSchema": PERSON},
        {"responseModalities": ["Text"]},
    ],
)
def test_enums_come_in_any_case(rest: TestClient, config: dict[str, Any]) -> None:
    settings = [{"category": "harm_category_harassment", "threshold": "block_none"}]
    reply = rest.post(URL, json={**ASK, "generationConfig": config, "safetySettings": settings})
    assert reply.status_code == 200, reply.text


def schema_of(engine: EchoEngine) -> Any:
    return json.loads(engine.requests[-1].options.response_schema)


def test_an_object_has_the_properties_listed_and_no_others(rest: TestClient, engine: EchoEngine) -> None:
    schema = {"type": "ARRAY", "items": {"anyOf": [PERSON, {"type": "NULL"}]}}
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    assert rest.post(URL, json={**ASK, "generationConfig": config}).status_code == 200
    assert schema_of(engine)["items"]["anyOf"][0] == {**PERSON, "additionalProperties": False}


@pytest.mark.parametrize("field", ["responseSchema", "responseJsonSchema", "_responseJsonSchema"])
@pytest.mark.parametrize("wished", [None, ["name", "reasoning"]])
def test_properties_are_written_in_the_order_they_came(
    rest: TestClient, engine: EchoEngine, field: str, wished: list[str] | None
) -> None:
    names = ["reasoning", "properties", "name", "answer"]
    schema: dict[str, Any] = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
    if wished:
        schema["propertyOrdering"] = wished
    config = {"responseMimeType": "application/json", field: schema}
    reply = rest.post(URL, json={**ASK, "generationConfig": config})
    assert reply.status_code == 200, reply.text
    order = [*(wished or []), *(name for name in names if name not in (wished or []))]
    assert list(schema_of(engine)["properties"]) == order
    assert "propertyOrdering" not in schema_of(engine)


def test_an_enum_is_a_choice_of_texts(rest: TestClient, engine: EchoEngine) -> None:
    config = {
        "responseMimeType": "text/x.enum",
        "responseSchema": {"type": "STRING", "enum": ["good", "bad"]},
    }
    assert rest.post(URL, json={**ASK, "generationConfig": config}).status_code == 200
    assert list(engine.requests[0].options.choices) == ["good", "bad"]


def test_a_choice_of_nothing_is_refused(rest: TestClient) -> None:
    config = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}}
    reply = rest.post(URL, json={**ASK, "generationConfig": config})
    assert (reply.status_code, "text/x.enum needs" in message_of(reply)) == (400, True)


@pytest.mark.parametrize("number", ["NaN", "1e400", "1" + "0" * 400])
def test_a_number_that_json_has_not_is_refused_in_a_schema(rest: TestClient, number: str) -> None:
    body = (
        '{"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"responseMimeType": '
        f'"application/json", "responseJsonSchema": {{"type": "number", "maximum": {number}}}}}}}'
    )
    assert rest.post(URL, content=body.encode()).status_code == 400


# --- counting --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"contents": HISTORY},
        {
            "generateContentRequest": {
                "model": f"models/{BASE}",
                "contents": HISTORY,
                "tools": [{"functionDeclarations": [{"name": "f", "description": "g"}]}],
                "systemInstruction": {"parts": [{"text": "be brief"}]},
            }
        },
    ],
)
def test_what_only_generation_cannot_do_is_counted(rest: TestClient, body: dict[str, Any]) -> None:
    reply = rest.post(COUNT, json=body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["totalTokens"] > 0


# --- the front end ---------------------------------------------------------------------------------------


def test_java_sends_a_patch_inside_a_post(rest: TestClient) -> None:
    create(rest)
    reply = rest.post(
        "/v1beta/tunedModels/a?updateMask=displayName",
        json={"displayName": "new"},
        headers={"x-http-method-override": "PATCH"},
    )
    assert (reply.status_code, reply.json()["displayName"]) == (200, "new")


def test_a_delete_inside_a_post_deletes(rest: TestClient) -> None:
    create(rest)
    assert rest.post("/v1beta/tunedModels/a", headers={"x-http-method-override": "DELETE"}).json() == {}
    assert rest.get("/v1beta/tunedModels/a").status_code == 404


def test_a_long_get_comes_as_a_form(rest: TestClient) -> None:
    for model_id in ("a", "b"):
        create(rest, model_id)
    reply = rest.post(
        "/v1beta/tunedModels", data={"pageSize": "1"}, headers={"x-http-method-override": "GET"}
    )
    assert len(reply.json()["tunedModels"]) == 1


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body)[2:-4]),
        ("identity", bytes),
    ],
)
def test_a_compressed_body_is_read(rest: TestClient, encoding: str, packed: Any) -> None:
    body = packed(json.dumps(ASK).encode())
    reply = rest.post(URL, content=body, headers={"content-encoding": encoding})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    ("encoding", "body", "sentence"),
    [
        ("gzip", b"{}", "not whole gzip"),
        ("gzip", gzip.compress(b"{}" * 1000)[:-20], "not whole gzip"),
        ("br", b"{}", "'br' is not supported"),
        ("gzip", gzip.compress(b" " * (3 << 20)), "exceeds the limit: 1048576 bytes"),
    ],
)
def test_a_body_that_does_not_unpack_is_refused(
    servicers: Mapping[str, object],
    access: Access,
    settings: Settings,
    encoding: str,
    body: bytes,
    sentence: str,
) -> None:
    small = replace(settings, max_body_mb=1)
    with TestClient(rest_door.build(servicers, access.authenticate, small), base_url=HOME) as client:
        reply = client.post(URL, content=body, headers={"content-encoding": encoding})
    assert (reply.status_code, sentence in message_of(reply)) == (400, True), reply.text


# --- fields that Google has and the installed messages lack ----------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"store": False},
        {"serviceTier": "standard"},
        {"labels": {"team": "a"}},
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "minimal"}}},
        {"generation_config": {"thinking_config": {"thinking_level": "MINIMAL"}}},
    ],
)
def test_a_newer_field_passes_when_it_changes_nothing(rest: TestClient, fields: dict[str, Any]) -> None:
    reply = rest.post(URL, json={**ASK, **fields})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"store": True}, "Storing of answers is not enabled"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "high"}}}, "Thinking is not enabled"),
        ({"generationConfig": {"responseFormat": {"text": {}}}}, "Response format is not enabled"),
        ({"tools": [{"mcpServers": [{}]}]}, "Tool use is not enabled"),
        ({"storage": 1}, 'Unknown name "storage"'),
    ],
)
def test_a_newer_field_that_asks_for_something_is_refused(
    rest: TestClient, fields: dict[str, Any], sentence: str
) -> None:
    reply = rest.post(URL, json={**ASK, **fields})
    assert (reply.status_code, sentence in message_of(reply)) == (400, True), reply.text


@pytest.mark.parametrize(
    ("examples", "sentence"),
    [
        ({"multiturnExamples": [{}]}, "a tuning learns pairs"),
        ({"examples": {"examples": [{"messages": []}]}}, "An example has textInput and output"),
        ({"examples": {"examples": [{"input": "1", "output": "2"}]}}, "An example has textInput and output"),
    ],
)
def test_other_shapes_of_examples_hear_which_is_right(
    rest: TestClient, examples: dict[str, Any], sentence: str
) -> None:
    inner = examples if "multiturnExamples" not in examples else {"examples": examples}
    body = {"baseModel": f"models/{BASE}", "tuningTask": {"trainingData": inner}}
    assert sentence in message_of(rest.post("/v1beta/tunedModels", json=body))


# --- names -----------------------------------------------------------------------------------------------


def test_a_tuned_name_may_have_models_before_it(rest: TestClient) -> None:
    create(rest)
    assert rest.get("/v1beta/models/tunedModels/a").json()["name"] == "tunedModels/a"
    assert "waits for its turn" in message_of(
        rest.post("/v1beta/models/tunedModels/a:generateContent", json=ASK)
    )


def test_models_with_a_tuned_id_says_where_it_is(rest: TestClient) -> None:
    create(rest)
    reply = rest.post("/v1beta/models/a:generateContent", json=ASK)
    assert (reply.status_code, "tunedModels/a" in message_of(reply)) == (404, True)
    assert "tunedModels/" not in message_of(rest.post("/v1beta/models/b:generateContent", json=ASK))


# --- what is elsewhere -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        ("POST", "/v1beta/openai/chat/completions", "OpenAI-compatible"),
        ("POST", "/upload/v1beta/files", "Files are not supported"),
        ("GET", "/v1beta/files", "Files are not supported"),
        ("POST", "/v1beta/cachedContents", "Cached contents"),
        ("GET", "/v1beta/batches", "Batches"),
        ("POST", "/v1beta/interactions", "Interactions"),
        ("POST", f"/v1beta/models/{BASE}:predict", "Images and videos"),
        ("POST", "/v1beta/tunedModels/a:embedContent", "Embeddings"),
        ("POST", "/v1beta/fileSearchStores", "Retrieval"),
        ("POST", "/v1beta/models/chat-bison-001:generateMessage", "PaLM"),
        ("POST", "/v1/projects/p/locations/l/tuningJobs", "not Vertex AI's"),
        ("GET", "/$discovery/OPENAPI3_0", "/openapi.json"),
        ("GET", "/tunedModels", "version is missing"),
        ("GET", "/v1beta/v1beta/tunedModels", "version twice"),
        ("POST", "/v1/chat/completions", "OpenAI-compatible"),
        ("GET", "/download/v1beta/files/x:download", "Files are not supported"),
        ("GET", "/v1beta/generatedFiles", "Files are not supported"),
        ("POST", "/v1alpha/auth_tokens", "Live sessions"),
        (
            "GET",
            "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
            "Live sessions",
        ),
        ("DELETE", "/v1beta/models/tunedModels/a", "leave models/ out"),
        ("POST", "/v1beta/models/tunedModels/a:transferOwnership", "leave models/ out"),
        ("POST", "/v1beta/dynamic/a:generateContent", "Dynamic models"),
        ("GET", "/v1beta/tunedModels/", "Leave out the slash"),
        ("GET", "/v1beta/nowhere", "Method not found"),
    ],
)
def test_what_is_not_here_says_what_to_use_instead(
    rest: TestClient, method: str, path: str, sentence: str
) -> None:
    reply = rest.request(method, path, json={} if method == "POST" else None)
    assert reply.status_code in (400, 404, 501)
    assert sentence in message_of(reply)


def test_a_slash_at_the_end_does_not_lead_away(rest: TestClient) -> None:
    reply = rest.get("/v1beta/tunedModels/", follow_redirects=False)
    assert reply.status_code == 404 and "location" not in reply.headers
