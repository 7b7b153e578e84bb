"""Answers, through the door, from an engine that says the prompt back."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from overtone.doors.gemini import messages as m
from overtone.doors.gemini.rpcs import RPCS
from overtone.errors import Code
from overtone.jobs.queue import Failed, Queue
from overtone.store.store import Store
from tests.doors.gemini.fakes import CONTEXT_LENGTH, EchoEngine
from tests.doors.gemini.grpc_client import GrpcClient
from tests.doors.gemini.test_model_service import ALIAS, create, finish
from tests.store.rows import snapshot


def ask(client: Any, text: str = "hi", model: str = "models/tiny", **body: Any) -> Any:
    whole = {"contents": [{"parts": [{"text": text}]}], **body}
    return client.post(f"/v1beta/{model}:generateContent", json=whole)


def refusal(reply: Any, status: int = 400) -> str:
    assert reply.status_code == status, reply.text
    return reply.json()["error"]["message"]


def test_an_answer_has_googles_shape(client: Any) -> None:
    answer = ask(client, "LXIII please").json()
    assert answer == {
        "candidates": [
            {
                "content": {"parts": [{"text": "LXIII please "}], "role": "model"},
                "finishReason": "STOP",
                "index": 0,
                "tokenCount": 3,
                "avgLogprobs": -0.5,
            }
        ],
        "usageMetadata": {"promptTokenCount": 15, "candidatesTokenCount": 3, "totalTokenCount": 18},
        "modelVersion": "tiny",
        "responseId": answer["responseId"],
    }


def test_a_tuned_model_answers_through_its_adapter(
    client: Any, store: Store, queue: Queue, engine: EchoEngine
) -> None:
    create(client)
    finish(queue)
    assert ask(client, model="tunedModels/a").json()["modelVersion"] == "tunedModels/a"
    request = engine.requests[0]
    assert request.adapter_folder == str(store.artifacts_of(store.get_tuned_model("a")).adapter)
    assert (request.tuned_model, request.adapter_digest) == ("a", "digest")


def test_the_requests_wish_wins_over_the_models_default_over_the_bases(
    client: Any, queue: Queue, engine: EchoEngine
) -> None:
    create(client, temperature=0.5, top_k=7)
    finish(queue)
    ask(client, model="tunedModels/a", generationConfig={"topK": 9})
    options = engine.requests[0].options
    assert (options.temperature, options.top_k, round(options.top_p, 2)) == (0.5, 9, 0.95)


def test_every_wish_reaches_the_engine(client: Any, engine: EchoEngine) -> None:
    wishes = {
        "temperature": 0,
        "topP": 0.5,
        "topK": 3,
        "maxOutputTokens": 5,
        "stopSequences": ["\n"],
        "seed": 7,
        "candidateCount": 2,
        "presencePenalty": 1,
        "frequencyPenalty": -1,
        "responseLogprobs": True,
        "logprobs": 3,
    }
    assert len(ask(client, generationConfig=wishes).json()["candidates"]) == 2
    sent = engine.requests[0].options
    assert (sent.temperature, sent.top_p, sent.top_k, sent.max_tokens, list(sent.stop)) == (
        0,
        0.5,
        3,
        5,
        ["\n"],
    )
    assert (sent.seed, sent.num_candidates, sent.presence_penalty, sent.frequency_penalty, sent.logprobs) == (
        7,
        2,
        1,
        -1,
        3,
    )


def test_several_parts_are_one_text_and_history_is_heard(client: Any) -> None:
    contents = [
        {"role": "user", "parts": [{"text": "in"}, {"text": "put"}]},
        {"role": "model", "parts": [{"text": "out"}]},
        {"role": "user", "parts": [{"text": "!"}]},
    ]
    text = ask(client, contents=contents).json()["candidates"][0]["content"]["parts"][0]["text"]
    assert text == "inputout! "


def test_safety_settings_and_an_empty_config_are_accepted(client: Any) -> None:
    safety = [{"category": 7, "threshold": 4}]
    assert ask(client, safetySettings=safety, generationConfig={}, tools=[]).status_code == 200


def test_a_native_model_hears_a_system_instruction(client: Any) -> None:
    answer = ask(client, "b", systemInstruction={"role": "user", "parts": {"text": "a"}}).json()
    assert answer["candidates"][0]["content"]["parts"] == [{"text": "ab "}]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            {"systemInstruction": {"parts": [{"text": "x"}]}},
            f"Developer instruction is not enabled for {ALIAS}",
        ),
        (
            {"generationConfig": {"responseMimeType": "application/json"}},
            "JSON mode is not enabled for this model",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}]},
            f"Image input modality is not enabled for {ALIAS}",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav", "data": "aGk="}}]}]},
            f"Audio input modality is not enabled for {ALIAS}",
        ),
        (
            {"contents": [{"parts": [{"fileData": {"mimeType": "application/pdf", "fileUri": "f"}}]}]},
            f"Document input modality is not enabled for {ALIAS}",
        ),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}},
            f"Thinking is not enabled for {ALIAS}",
        ),
        ({"contents": [{"parts": [{"text": "x" * 40_001}]}]}, "has 40001 characters; the limit of"),
        ({"tools": [{"functionDeclarations": [{"name": "f"}]}]}, "Function calling is not enabled for"),
        ({"cachedContent": "cachedContents/x"}, "Cached content is not enabled for"),
    ],
)
def test_what_the_card_forbids_is_refused_in_googles_words(
    client: Any, body: dict[str, Any], problem: str
) -> None:
    assert problem in refusal(ask(client, model=ALIAS, **body))


@pytest.mark.parametrize("system", [{}, {"parts": []}, {"parts": [{"text": ""}]}])
def test_an_empty_system_instruction_is_none(client: Any, system: object) -> None:
    assert ask(client, model=ALIAS, systemInstruction=system).status_code == 200


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"temperature": 2.5}, "temperature is 2.5; it must lie between 0 and 2"),
        ({"temperature": "NaN"}, "temperature is nan"),
        ({"topP": 1.5}, "top_p is 1.5"),
        ({"topK": 0}, "top_k is 0; it must be at least 1"),
        ({"maxOutputTokens": 0}, "max_output_tokens is 0; it must lie between 1 and 32"),
        ({"maxOutputTokens": 33}, "max_output_tokens is 33"),
        ({"candidateCount": 9}, "candidate_count is 9; it must lie between 1 and 8"),
        ({"stopSequences": ["a"] * 6}, "stop_sequences has 6 items; the limit is 5"),
        ({"stopSequences": ["a", ""]}, "stop_sequences[1] is empty"),
        ({"presencePenalty": 3}, "presence_penalty is 3"),
        ({"logprobs": 2}, "response_logprobs is not true"),
        ({"responseLogprobs": True, "logprobs": 21}, "logprobs is 21"),
        ({"responseMimeType": "image/png"}, "response_mime_type is 'image/png'"),
        ({"responseSchema": {"type": "STRING"}}, "needs response_mime_type"),
        ({"responseMimeType": "text/x.enum"}, "text/x.enum needs those to choose from"),
        ({"responseMimeType": "application/json", "responseJsonSchema": [1]}, "it must be a JSON object"),
        ({"responseModalities": ["AUDIO"]}, "Output other than text is not enabled"),
        ({"thinkingConfig": {"includeThoughts": True}}, "Thinking is not enabled"),
    ],
)
def test_wishes_that_cannot_be_are_refused(client: Any, config: dict[str, Any], problem: str) -> None:
    assert problem in refusal(ask(client, generationConfig=config))


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        ([], "contents is empty"),
        ([{"parts": []}], "contents[0].parts must not be empty"),
        ([{"parts": [{}]}], "contents[0].parts[0].data is missing"),
        ([{"role": "wizard", "parts": [{"text": "x"}]}], "Please use a valid role: user, model."),
        ([{"role": "model", "parts": [{"text": "x"}]}], "end with a user role"),
    ],
)
def test_contents_that_say_nothing_are_refused(client: Any, contents: object, problem: str) -> None:
    assert problem in refusal(ask(client, contents=contents))


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(client: Any) -> None:
    message = refusal(ask(client, "x" * 100))
    assert message == "The input token count (103) exceeds the maximum number of tokens allowed (63)."


def test_an_answer_never_runs_beyond_the_context(client: Any, engine: EchoEngine) -> None:
    ask(client, "x" * 40)
    assert engine.requests[0].options.max_tokens == CONTEXT_LENGTH - 43


def test_a_json_schema_goes_to_the_engine(client: Any, engine: EchoEngine) -> None:
    schema = {
        "type": "OBJECT",
        "properties": {"b": {"type": "NUMBER"}, "a": {"type": "STRING", "nullable": True}},
    }
    config = {
        "responseMimeType": "application/json",
        "responseSchema": {**schema, "propertyOrdering": ["b", "a"]},
    }
    assert ask(client, generationConfig=config).status_code == 200
    assert engine.requests[0].options.json_mode
    assert engine.requests[0].options.response_schema == (
        '{"type": "object", "properties": {"b": {"type": "number"}, '
        '"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "additionalProperties": false}'
    )


def sent_schema(client: Any, engine: EchoEngine, **config: Any) -> Any:
    whole = {"responseMimeType": "application/json", **config}
    assert ask(client, generationConfig=whole).status_code == 200
    return json.loads(engine.requests[-1].options.response_schema)


def test_a_schema_without_an_ordering_keeps_the_order_that_was_sent(client: Any, engine: EchoEngine) -> None:
    names = ["reasoning", "name", "answer", "a", "z", "b"]
    properties = {key: {"type": "string"} for key in names}
    for field in ("responseSchema", "responseJsonSchema", "_responseJsonSchema"):
        sent = sent_schema(client, engine, **{field: {"type": "object", "properties": properties}})
        assert (sent["type"], list(sent["properties"])) == ("object", names)


def test_objects_have_the_listed_properties_and_no_others(client: Any, engine: EchoEngine) -> None:
    person = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    people = {"type": "array", "items": person}
    whole = {"type": "object", "properties": {"one": person, "all": people, "any": {"anyOf": [person]}}}
    for field in ("responseSchema", "responseJsonSchema"):
        sent = sent_schema(client, engine, **{field: whole})
        assert "required" not in sent
        inner = sent["properties"]
        objects = [sent, inner["one"], inner["all"]["items"], inner["any"]["anyOf"][0]]
        assert [each["additionalProperties"] for each in objects] == [False] * 4
        assert inner["one"]["required"] == ["name"]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {}}, "additionalProperties": {"type": "string"}},
        {"properties": {"a": {}}, "required": ["b"]},
        {"properties": {"a": {}}, "required": [["a"]]},
        {"properties": {"a": {}}, "minProperties": 2},
        {"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}}]},
        {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]},
        {"patternProperties": {"a": {"type": "string"}}, "properties": {}},
    ],
)
def test_a_json_schema_that_means_more_properties_stays_open(
    client: Any, engine: EchoEngine, schema: object
) -> None:
    assert sent_schema(client, engine, responseJsonSchema=schema) == schema


@pytest.mark.parametrize("more", [{"minimum": 1}, {"maximum": 10**20}, {"enum": [1]}, {"multipleOf": 2}])
def test_the_digits_of_an_integer_have_an_end(client: Any, engine: EchoEngine, more: dict[str, Any]) -> None:
    limited = {"type": "integer", **more}
    properties = {"free": {"type": "integer"}, "maybe": {"type": ["integer", "null"]}, "limited": limited}
    sent = sent_schema(client, engine, responseJsonSchema={"properties": properties})["properties"]
    limits = {"minimum": -(2**53) + 1, "maximum": 2**53 - 1}
    assert sent["free"] == {"type": "integer", **limits}
    assert sent["maybe"] == {"type": ["integer", "null"], **limits}
    assert sent["limited"] == limited


def test_a_format_that_is_only_a_note_is_left_out(client: Any, engine: EchoEngine) -> None:
    schema = {
        "anyOf": [{"type": "STRING", "format": "enum", "enum": ["a"]}, {"type": "STRING", "format": "date"}]
    }
    sent = sent_schema(client, engine, responseSchema=schema)
    assert sent == {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "string", "format": "date"}]}


def test_one_of_several_texts_is_asked_for_as_text(client: Any, engine: EchoEngine) -> None:
    config = {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["b", "a"]}}
    assert ask(client, generationConfig=config).status_code == 200
    options = engine.requests[0].options
    assert (list(options.choices), options.json_mode, options.response_schema) == (["b", "a"], False, "")


def test_a_schema_over_grpc_may_hold_what_json_does_not(client: Any) -> None:
    if not isinstance(client, GrpcClient):
        return
    config = m.GenerationConfig(response_mime_type="application/json")
    m.GenerationConfig.pb(config).response_json_schema.struct_value["maximum"] = float("nan")
    contents = [m.Content(parts=[m.Part(text="hi")])]
    request = m.GenerateContentRequest(model="models/tiny", contents=contents, generation_config=config)
    rpc = next(rpc for rpc in RPCS if rpc.method == "GenerateContent")
    assert "response_json_schema is not JSON" in refusal(client.call(rpc, request, ()))


def test_a_model_that_waits_says_so(client: Any) -> None:
    create(client)
    reply = ask(client, model="tunedModels/a")
    assert reply.json()["error"]["status"] == "FAILED_PRECONDITION"
    assert "it waits for its turn" in refusal(reply)


def test_a_model_that_is_being_tuned_says_how_far_it_is(client: Any, queue: Queue) -> None:
    create(client)
    job = queue.claim("w", "tiny")
    assert job is not None
    queue.beat(job, [snapshot(1), snapshot(2)])
    assert "2 of 38 steps are done" in refusal(ask(client, model="tunedModels/a"))


def test_a_model_that_failed_says_why(client: Any, queue: Queue) -> None:
    create(client)
    job = queue.claim("w", "tiny")
    assert job is not None
    queue.settle(job, Failed(Code.INTERNAL, "the loss was not finite"))
    assert "its tuning failed: the loss was not finite" in refusal(ask(client, model="tunedModels/a"))


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("tunedModels/nope", "Tuned model tunedModels/nope does not exist."),
        (
            "models/nope",
            "models/nope is not found for API version v1beta, or is not supported for generateContent.",
        ),
    ],
)
def test_a_model_that_is_not_there_is_not_found(client: Any, model: str, problem: str) -> None:
    assert problem in refusal(ask(client, model=model), 404)


@pytest.mark.parametrize("method", [":generateContent", ":streamGenerateContent?alt=sse", ":countTokens", ""])
def test_models_may_stand_before_a_tuned_models_name(rest: Any, queue: Queue, method: str) -> None:
    create(rest)
    finish(queue)
    verb = "POST" if method else "GET"
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    plain, prefixed = (
        rest.request(verb, f"/v1beta/{name}{method}", json=body)
        for name in ("tunedModels/a", "models/tunedModels/a")
    )
    assert (plain.status_code, prefixed.status_code) == (200, 200)
    assert re.sub('"responseId.*', "", prefixed.text) == re.sub('"responseId.*', "", plain.text)


def test_models_may_stand_before_it_over_grpc(client: Any, queue: Queue, engine: EchoEngine) -> None:
    if not isinstance(client, GrpcClient):
        return
    create(client)
    finish(queue)
    request = m.GenerateContentRequest(
        model="models/tunedModels/a", contents=[m.Content(parts=[m.Part(text="hi")])]
    )
    rpc = next(rpc for rpc in RPCS if rpc.method == "GenerateContent")
    assert client.call(rpc, request, ()).json()["modelVersion"] == "tunedModels/a"
    assert engine.requests[0].tuned_model == "a"


@pytest.mark.parametrize("path", ["models/a:generateContent", "models/a:countTokens", "models/a"])
def test_a_tuned_model_without_its_collection_is_named(client: Any, path: str) -> None:
    create(client)
    verb = "POST" if ":" in path else "GET"
    message = refusal(client.request(verb, f"/v1beta/{path}", json={"contents": []}), 404)
    assert message.endswith("There is a tuned model tunedModels/a.")
