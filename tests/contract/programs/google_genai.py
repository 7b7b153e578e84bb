"""The tuning surface of google-genai as published, old and new. Run in an environment of its own.

usage: google_genai.py http://localhost:PORT
"""

import enum
import json
import sys
import time
from typing import Literal

from google import genai
from google.genai import errors, types
from pydantic import BaseModel

version = tuple(int(part) for part in genai.__version__.split(".")[:2])
client = genai.Client(api_key="any", http_options={"base_url": sys.argv[1]})
PAIRS = [{"text_input": str(n), "output": str(n + 1)} for n in range(6)]
BASE = "models/gemini-1.5-flash-001-tuning"
NATIVE = "models/smollm2-135m-instruct"


def dataset():
    return types.TuningDataset(examples=[types.TuningExample(**pair) for pair in PAIRS])


def tune(**config):
    """Tune as this version does; the newest lose the examples, so they go the way that our error shows."""
    if version >= (1, 47):
        rows = [{"textInput": pair["text_input"], "output": pair["output"]} for pair in PAIRS]
        body = {"tuningTask": {"trainingData": {"examples": {"examples": rows}}}}
        config["http_options"] = {"extra_body": body}
    return client.tunings.tune(base_model=BASE, training_dataset=dataset(), config=config)


def wait(job):
    while not job.has_ended:
        time.sleep(0.1)
        job = client.tunings.get(name=job.name)
    return job


def raises(expected, call):
    try:
        call()
    except expected as error:
        return error
    raise AssertionError(f"no {expected.__name__}")


if version >= (1, 47):
    error = raises(
        errors.ClientError,
        lambda: client.tunings.tune(base_model=BASE, training_dataset=dataset(), config={"epoch_count": 1}),
    )
    assert error.code == 400 and "extra_body" in error.message and "google-genai==1.46.0" in error.message, (
        error
    )

job = tune(epoch_count=4, batch_size=2, learning_rate=0.001, tuned_model_display_name="test tuned model")
if version <= (1, 0):  # this one waited for the operation by itself
    model_name = job.tuned_model.model
else:
    job = wait(job)
    model_name = job.tuned_model.model
    assert job.has_succeeded and job.state.name == "JOB_STATE_SUCCEEDED", job
    assert job.base_model == BASE and job.start_time and job.end_time, job
assert model_name.startswith("tunedModels/test-tuned-model-"), model_name

config = types.GenerateContentConfig(temperature=0, max_output_tokens=8)
answer = client.models.generate_content(model=model_name, contents="3", config=config)
assert isinstance(answer.text, str) and answer.candidates[0].finish_reason.name in ("STOP", "MAX_TOKENS"), (
    answer
)
assert answer.usage_metadata.total_token_count > 0
chunks = list(client.models.generate_content_stream(model=model_name, contents="3", config=config))
assert "".join(chunk.text or "" for chunk in chunks) == answer.text, chunks
assert client.models.count_tokens(model=model_name, contents="3").total_tokens > 0
assert BASE in [model.name for model in client.models.list()]
assert client.models.get(model=BASE).display_name == "Gemini 1.5 Flash 001 Tuning"
tuned_models = client.models.list(config={"query_base": False, "page_size": 1})
assert model_name in [model.name for model in tuned_models]
updated = client.models.update(model=model_name, config={"display_name": "dn", "description": "dd"})
assert (updated.display_name, updated.description) == ("dn", "dd"), updated
if version < (1, 74):
    assert model_name in [job.name for job in client.tunings.list(config={"page_size": 1})]

answer = client.models.generate_content(model="models/" + model_name, contents="3", config=config)
assert answer.model_version == model_name, answer
history = [
    types.Content(role="user", parts=[types.Part(text="3")]),
    types.Content(role="model", parts=[types.Part(text="4")]),
]
assert client.models.count_tokens(model=model_name, contents=history).total_tokens > 0


class Verdict(BaseModel):
    reasoning: Literal["long", "short"]
    certain: bool
    answer: Literal["no", "yes"]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def structured(schema, mime_type="application/json", field="response_schema"):
    """Return the answer that must follow a schema, however little sense a random model makes."""
    config = {"response_mime_type": mime_type, field: schema, "temperature": 1.0, "seed": 1}
    return client.models.generate_content(model=NATIVE, contents="Is the sky blue?", config=config)


if version >= (1, 46):
    answer = structured(Verdict)
    assert isinstance(answer.parsed, Verdict), answer.text
    assert list(json.loads(answer.text)) == ["reasoning", "certain", "answer"], answer.text
    answer = structured(Verdict.model_json_schema(), field="response_json_schema")
    assert list(json.loads(answer.text)) == ["reasoning", "certain", "answer"], answer.text
    assert structured(Colour, "text/x.enum").parsed in Colour
if version >= (3, 0):
    harmless = {
        "thinking_config": {"thinking_level": "MINIMAL"},
        "service_tier": "standard",
        "labels": {"a": "b"},
    }
    assert client.models.generate_content(
        model=NATIVE, contents="3", config={"max_output_tokens": 4, **harmless}
    )
    config = {"thinking_config": {"thinking_level": "HIGH"}}
    error = raises(
        errors.ClientError, lambda: client.models.generate_content(model=NATIVE, contents="3", config=config)
    )
    assert f"Thinking is not enabled for {NATIVE}" in error.message, error

if version >= (1, 32):
    job = tune(epoch_count=100_000)
    client.tunings.cancel(name=job.name)
    assert wait(job).has_ended
    client.models.delete(model=job.name)

error = raises(errors.ClientError, lambda: client.tunings.get(name="tunedModels/nope"))
assert error.code == 404 and "does not exist" in error.message, error
error = raises(
    errors.ClientError,
    lambda: client.models.generate_content(
        model=model_name, contents="x", config=types.GenerateContentConfig(system_instruction="be brief")
    ),
)
assert error.code == 400 and "Developer instruction is not enabled" in error.message, error
client.models.delete(model=model_name)
error = raises(errors.ClientError, lambda: client.models.get(model=model_name))
assert error.code == 404, error
print("ok")
