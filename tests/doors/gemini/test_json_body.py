"""JSON values to messages and back; protobuf's own json_format is the oracle."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from overtone.doors.gemini import messages as m
from overtone.doors.gemini.errors import tell
from overtone.doors.gemini.json_body import to_message
from overtone.doors.gemini.json_reply import from_message
from overtone.doors.gemini.json_text import parse
from overtone.errors import InvalidArgument
from overtone.float32 import shortest


def refused(value: Any, kind: Any = m.TunedModel) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        to_message(value, kind)
    return caught.value


def test_both_spellings_mix_in_one_body() -> None:
    message = to_message({"display_name": "a", "baseModel": "models/b"}, m.TunedModel)
    assert (message.display_name, message.base_model) == ("a", "models/b")


@pytest.mark.parametrize("state", ["ACTIVE", "active", "Active", 2])
def test_enums_come_by_name_or_number(state: object) -> None:
    assert to_message({"state": state}, m.TunedModel).state == m.TunedModel.State.ACTIVE


@pytest.mark.parametrize("number", ["123", 123])
def test_long_integers_come_as_text_or_number_and_leave_as_text(number: object) -> None:
    message = to_message({"readerProjectNumbers": [number]}, m.TunedModel)
    assert from_message(message) == {"readerProjectNumbers": ["123"]}


def test_a_lone_value_is_a_list_of_one() -> None:
    request = to_message({"contents": {"parts": {"text": "hi"}}}, m.GenerateContentRequest)
    assert request.contents[0].parts[0].text == "hi"


def test_null_is_unset() -> None:
    assert "temperature" not in to_message({"temperature": None, "displayName": None}, m.TunedModel)


def test_a_mask_takes_both_spellings() -> None:
    request = to_message({"update_mask": "display_name,topP"}, m.UpdateTunedModelRequest)
    assert list(request.update_mask.paths) == ["display_name", "top_p"]


def test_an_unknown_field_is_told_in_googles_words() -> None:
    error = refused({"tunedModel": {"foo": 1}}, m.CreateTunedModelRequest)
    sentence = "Invalid JSON payload received. Unknown name \"foo\" at 'tuned_model': Cannot find field."
    assert error.message == sentence
    assert tell(error).details == [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": "tuned_model", "description": sentence}],
        },
    ]


def test_everything_wrong_is_told_at_once() -> None:
    error = refused({"foo": 1, "temperature": "hot", "tuningTask": {"bar": 2}})
    assert error.message.split("\n") == [
        'Invalid JSON payload received. Unknown name "foo": Cannot find field.',
        "Invalid value at 'temperature' (TYPE_FLOAT), \"hot\"",
        "Invalid JSON payload received. Unknown name \"bar\" at 'tuning_task': Cannot find field.",
    ]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], 'Invalid JSON payload received. Unknown name "": Root element must be a message.'),
        ({"temperature": [1]}, "Proto field is not repeating, cannot start list."),
        ({"description": {}}, "Invalid value at 'description' (TYPE_STRING), {}"),
        ({"description": "\ud800"}, "Invalid value at 'description' (TYPE_STRING)"),
        ({"topK": 1.5}, "Invalid value at 'top_k' (TYPE_INT32), 1.5"),
        ({"topK": 2**31}, "Invalid value at 'top_k' (TYPE_INT32), 2147483648"),
        ({"topK": True}, "Invalid value at 'top_k' (TYPE_INT32), true"),
        ({"temperature": 1e300}, "Invalid value at 'temperature' (TYPE_FLOAT), 1e+300"),
        ({"state": "GONE"}, 'generativelanguage.v1beta.TunedModel.State), "GONE"'),
        ({"tuningTask": "x"}, 'generativelanguage.v1beta.TuningTask), "x"'),
        ({"createTime": "yesterday"}, "Invalid JSON payload received."),
        ({"readerProjectNumbers": ["1" * 30]}, "Invalid value at 'reader_project_numbers[0]' (TYPE_INT64)"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(value: object, sentence: str) -> None:
    assert sentence in refused(value).message


def test_two_members_of_a_oneof_are_refused() -> None:
    rates = {"hyperparameters": {"learningRate": 1, "learning_rate_multiplier": 2}}
    assert refused({"tuningTask": rates}).message == (
        "Invalid value at 'tuning_task.hyperparameters' (oneof), oneof field 'learning_rate_option' is "
        "already set. Cannot set 'learningRateMultiplier'"
    )


CONFIG = "generation_config.response_json_schema"
DOUBLES = "(type.googleapis.com/google.protobuf.Value)"


@pytest.mark.parametrize("number", ["NaN", "1e400", "1" * 400])
@pytest.mark.parametrize("spelling", ["responseJsonSchema", "_responseJsonSchema"])
def test_a_number_that_protobuf_cannot_hold_is_refused_with_its_place(number: str, spelling: str) -> None:
    body = parse(f'{{"generationConfig": {{"{spelling}": {{"items": [{number}]}}}}}}'.encode())
    assert (
        f"Invalid value at '{CONFIG}.items[0]' {DOUBLES}" in refused(body, m.GenerateContentRequest).message
    )


def test_a_hexadecimal_number_without_end_is_refused() -> None:
    body = parse(b'{"topK": 0x' + b"f" * 5000 + b"}")
    assert "Invalid value at 'top_k' (TYPE_INT32)" in refused(body).message


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"type": "foo"}, "type"),
        ({"properties": {"a": {}, "b": {"type": "foo"}}}, "properties[1].value.type"),
        ({"properties": {"\ud800": {}}}, "properties[0].key"),
        ({"default": "\ud800"}, "default"),
    ],
)
def test_a_path_is_said_in_googles_words(part: object, path: str) -> None:
    error = refused({"generationConfig": {"responseSchema": part}}, m.GenerateContentRequest)
    assert f"Invalid value at 'generation_config.response_schema.{path}'" in error.message


def test_a_schema_keeps_the_order_of_its_properties() -> None:
    names = [f"p{n}" for n in (3, 1, 2, 0)]
    schema = {"properties": {key: {"type": "string"} for key in names}}
    request = to_message({"generationConfig": {"responseSchema": schema}}, m.GenerateContentRequest)
    assert request.generation_config.response_schema.property_ordering == names


def test_what_an_order_leaves_out_follows_as_it_was_sent() -> None:
    schema = {"properties": {key: {} for key in "cab"}, "propertyOrdering": ["b"]}
    assert to_message(schema, m.Schema).property_ordering == ["b", "c", "a"]


def test_a_json_schema_keeps_its_order_and_its_numbers() -> None:
    schema = {"properties": {name: {"maximum": 2**60 + 1} for name in "zyxab"}}
    config = to_message({"responseJsonSchema": schema}, m.GenerationConfig)
    kept = json.loads(config.response_json_schema_ordered)
    assert (kept, list(kept["properties"])) == (schema, list("zyxab"))


@pytest.mark.parametrize(
    "body",
    [
        {"store": False, "labels": {"a": "b"}, "serviceTier": "standard"},
        {"service_tier": "SERVICE_TIER_UNSPECIFIED"},
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "minimal"}}},
        {"generationConfig": {"responseModalities": ["Text"], "enableAffectiveDialog": False}},
        {"contents": [{"parts": [{"text": "a", "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"}}]}]},
        {"safetySettings": [{"category": "HARM_CATEGORY_JAILBREAK", "threshold": "block_none"}]},
        {"toolConfig": {"functionCallingConfig": {"mode": "none"}}},
    ],
)
def test_what_is_newer_than_our_messages_and_asks_for_nothing_passes(body: object) -> None:
    assert to_message(body, m.GenerateContentRequest) is not None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"store": True}, "Storing of answers is not enabled for models/x"),
        (
            {"serviceTier": "flex"},
            "A service tier is not enabled for models/x",
        ),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}, "Thinking is not enabled for"),
        ({"generationConfig": {"imageConfig": {"imageSize": "1K"}}}, "Output other than text is not enabled"),
        ({"generationConfig": {"responseModalities": ["VIDEO"]}}, "Output other than text is not enabled"),
        ({"generationConfig": {"responseFormat": {"text": {}}}}, "use responseMimeType with responseSchema"),
        ({"contents": {"parts": {"toolCall": {"id": "1"}}}}, "Tool use is not enabled for models/x"),
        ({"tools": {"mcpServers": [{"name": "x"}]}}, "Tool use is not enabled for models/x"),
    ],
)
def test_what_is_newer_and_cannot_be_done_gets_the_sentence_of_its_feature(
    body: object, sentence: str
) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        to_message(body, m.GenerateContentRequest, "models/x")


@pytest.mark.parametrize(
    "field",
    ["routingConfig", "audioTimestamp", "responseSchema.additionalProperties", "safetySettings.method"],
)
def test_what_google_refuses_stays_unknown(field: str) -> None:
    body: Any = 1
    for name in reversed(field.split(".")):
        body = {name: body}
    whole = body if "safety" in field else {"generationConfig": body}
    assert "Cannot find field." in refused(whole, m.GenerateContentRequest).message


def test_examples_of_several_turns_are_refused_by_name() -> None:
    data = {"examples": {"multiturnExamples": [{"contents": []}]}}
    message = refused({"tuningTask": {"trainingData": data}}).message
    assert message.startswith("multiturnExamples are not supported yet: a tuning learns pairs.")
    assert message.endswith("examples: {examples: [{textInput, output}]}.")


@pytest.mark.parametrize("key", ["messages", "contents", "input"])
def test_an_example_in_another_form_hears_what_one_is(key: str) -> None:
    data = {"examples": {"examples": [{key: []}]}}
    message = refused({"tuningTask": {"trainingData": data}}).message
    assert f'Unknown name "{key}"' in message
    assert message.endswith("Cannot find field. An example has textInput and output.")


def test_deep_nesting_is_refused_and_not_crashed_on() -> None:
    schema: dict[str, Any] = {}
    for _ in range(150):
        schema = {"items": schema}
    for field in ("responseSchema", "responseJsonSchema"):
        body = {"generationConfig": {field: schema}}
        assert "Message too deep" in refused(body, m.GenerateContentRequest).message


def test_a_float_is_written_with_its_fewest_digits() -> None:
    message = m.TunedModel(temperature=0.9, top_p=1.0)
    assert from_message(message) == {"temperature": 0.9, "topP": 1}


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_shortest_float_is_still_the_same_float(value: float) -> None:
    assert m.TunedModel(temperature=shortest(value)).temperature == value


def test_an_operation_is_written_as_protobuf_writes_it() -> None:
    operation = m.Operation(name="tunedModels/a/operations/b", done=True)
    tuned_model = m.TunedModel(name="tunedModels/a", state="ACTIVE", reader_project_numbers=[7])
    operation.response.Pack(m.to_pb(tuned_model))
    operation.metadata.Pack(m.to_pb(m.CreateTunedModelMetadata(total_steps=3, completed_percent=50)))
    assert from_message(operation) == json_format.MessageToDict(operation)


texts = st.text(st.characters(codec="utf-8"), max_size=20)
tuned_models = st.builds(
    m.TunedModel,
    name=texts,
    description=texts,
    temperature=st.none() | st.floats(0, 1, width=32),
    top_k=st.none() | st.integers(-(2**31), 2**31 - 1),
    state=st.sampled_from([0, 1, 2, 3]),
    reader_project_numbers=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
)


@given(tuned_models)
def test_a_message_survives_the_way_out_and_in(message: Any) -> None:
    written = from_message(message)
    assert written == json_format.MessageToDict(m.to_pb(message))
    assert to_message(written, m.TunedModel) == message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
FIELDS = [field.name for field in m.descriptor_of(m.TunedModel).fields]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3) | json_values)
def test_any_body_is_either_read_or_refused(value: Any) -> None:
    try:
        to_message(value, m.TunedModel)
    except InvalidArgument as error:
        assert error.message


@given(
    st.integers(-62135596800, 253402300799), st.integers(0, 999_999_999) | st.sampled_from([0, 10**6, 10**3])
)
def test_a_moment_is_written_as_protobuf_writes_it(seconds: int, nanos: int) -> None:
    moment = Timestamp(seconds=seconds, nanos=nanos)
    snapshot = m.TuningSnapshot.pb(m.TuningSnapshot())
    snapshot.compute_time.CopyFrom(moment)
    assert from_message(snapshot) == {"computeTime": moment.ToJsonString()}
