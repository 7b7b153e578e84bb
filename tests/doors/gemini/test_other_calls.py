"""Token counts, the PaLM-era generateText, and what is not supported."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doors.gemini.fakes import EchoEngine
from tests.doors.gemini.test_model_service import ALIAS, create, finish

CONTENTS = [{"parts": [{"text": "héllo"}]}]


@pytest.mark.parametrize("model", ["models/tiny", "tunedModels/a"])
@pytest.mark.parametrize(
    "body",
    [
        {"contents": CONTENTS},
        {"generateContentRequest": {"model": "tunedModels/a", "contents": CONTENTS, "generationConfig": {}}},
    ],
)
def test_tokens_are_counted_as_the_prompt_will_have_them(
    client: Any, queue: Any, model: str, body: dict[str, Any]
) -> None:
    create(client, "a")
    finish(queue)
    counted = client.post(f"/v1beta/{model}:countTokens", json=body).json()
    asked = client.post(f"/v1beta/{model}:generateContent", json={"contents": CONTENTS}).json()
    assert counted == {"totalTokens": asked["usageMetadata"]["promptTokenCount"]}


HISTORY = [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "hello"}]}]
IMAGE = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}


@pytest.mark.parametrize("model", ["models/tiny", ALIAS])
@pytest.mark.parametrize(
    ("more", "num_bytes"),
    [
        ({}, 0),
        ({"systemInstruction": {"parts": [{"text": "be brief"}]}}, 8),
        (
            {"tools": [{"functionDeclarations": [{"name": "f"}]}]},
            0,
        ),
        ({"contents": [*HISTORY, {"parts": [IMAGE, {"text": "??"}]}]}, 3),
        ({"contents": [*HISTORY, {"parts": [{"text": "x" * 50_000}]}]}, 50_001),
        (
            {
                "generationConfig": {
                    "thinkingConfig": {"thinkingLevel": "HIGH"},
                    "responseMimeType": "image/png",
                }
            },
            0,
        ),
    ],
)
def test_what_only_generating_could_not_do_is_counted(
    client: Any, model: str, more: dict[str, Any], num_bytes: int
) -> None:
    body = {"generateContentRequest": {"model": model, "contents": HISTORY, **more}}
    counted = client.post(f"/v1beta/{model}:countTokens", json=body).json()
    assert counted == {"totalTokens": len("hihello") + 4 + num_bytes}


@pytest.mark.parametrize("version", ["v1beta", "v1beta2", "v1beta3"])
def test_text_is_generated_in_the_older_shape(client: Any, version: str) -> None:
    body = {"prompt": {"text": "4"}, "temperature": 1.0, "candidate_count": 2}
    answer = client.post(f"/{version}/models/tiny:generateText", json=body).json()
    assert answer == {"candidates": [{"output": "4 "}, {"output": "4 "}]}


def test_the_older_shape_hands_its_wishes_on(client: Any, engine: EchoEngine) -> None:
    body = {"prompt": {"text": "4"}, "top_k": 3, "stopSequences": ["x"], "maxOutputTokens": 7}
    client.post("/v1beta/models/tiny:generateText", json=body)
    options = engine.requests[0].options
    assert (options.top_k, list(options.stop), options.max_tokens) == (3, ["x"], 7)


def test_no_text_is_refused(client: Any) -> None:
    reply = client.post("/v1beta/models/tiny:generateText", json={"prompt": {}})
    assert reply.json()["error"]["message"].startswith("prompt.text is empty")


@pytest.mark.parametrize(
    ("verb", "path", "says"),
    [
        ("POST", "models/tiny:embedContent", "Embeddings are not supported"),
        ("POST", "models/tiny:batchEmbedContents", "Embeddings are not supported"),
        ("POST", "tunedModels/a:asyncBatchEmbedContent", "Embeddings are not supported"),
        ("POST", "models/tiny:generateAnswer", "prompt of generateContent"),
        ("POST", "tunedModels/a:batchGenerateContent", "call generateContent for each request"),
        ("DELETE", "tunedModels/a/operations/b", "delete that"),
        ("POST", "tunedModels/a/operations/b:wait", "until it says done"),
    ],
)
def test_what_is_not_supported_says_what_to_do_instead(client: Any, verb: str, path: str, says: str) -> None:
    reply = client.request(verb, f"/v1/{path}", json={"anything": [1]})
    assert (reply.status_code, reply.json()["error"]["status"]) == (501, "UNIMPLEMENTED")
    assert says in reply.json()["error"]["message"]
