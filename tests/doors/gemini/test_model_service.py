"""Tuned models from creation to deletion, through the door."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.domain.sharing import Grantee, Question
from overtone.doors.gemini import rest_door
from overtone.doors.gemini.servicers import build_servicers
from overtone.jobs.queue import Queue, Succeeded
from overtone.service import tuning
from overtone.service.access import Access
from overtone.service.models import build_models
from overtone.store.store import Store
from tests.doors.gemini.fakes import EchoEngine, OneEngine, TinyRegistry, tiny_card

HOME = "http://127.0.0.1:8080"
ALIAS = "models/gemini-1.5-flash-001-tuning"
PAIRS = [{"text_input": str(n), "output": str(n + 1)} for n in range(15)]
TASK = {
    "hyperparameters": {"batch_size": 2, "learning_rate": 0.001, "epoch_count": 5},
    "training_data": {"examples": {"examples": PAIRS}},
}


def body(**changes: Any) -> dict[str, Any]:
    whole = {"display_name": "number generator model", "base_model": ALIAS, "tuning_task": TASK, **changes}
    return {name: value for name, value in whole.items() if value is not None}


def create(client: Any, tuned_model_id: str = "a", **changes: Any) -> dict[str, Any]:
    reply = client.post(f"/v1beta/tunedModels?tunedModelId={tuned_model_id}", json=body(**changes))
    assert reply.status_code == 200, reply.text
    return reply.json()


def finish(queue: Queue, digest: str = "digest") -> None:
    job = queue.claim("w", "tiny")
    assert job is not None
    adapter = job.artifacts.adapter
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_text(digest)
    queue.settle(job, Succeeded(digest))


def error_of(reply: Any) -> str:
    return reply.json()["error"]["message"]


def test_creating_answers_at_once_with_the_operation(client: Any) -> None:
    operation = client.post("/v1beta/tunedModels?key=K", json=body()).json()
    name = operation["metadata"]["tunedModel"]
    assert name.startswith("tunedModels/number-generator-model-")
    assert operation == {
        "name": operation["name"],
        "metadata": {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1beta.CreateTunedModelMetadata",
            "totalSteps": 38,
            "tunedModel": name,
        },
    }
    assert operation["name"].startswith(f"{name}/operations/")


def test_a_new_model_is_creating_and_has_its_values_resolved(client: Any) -> None:
    create(client, tuning_task={"training_data": TASK["training_data"]})
    model = client.get("/v1/tunedModels/a").json()
    assert (model["state"], model["baseModel"]) == ("CREATING", ALIAS)
    assert (model["temperature"], model["topP"], model["topK"]) == (1, 0.95, 64)
    assert model["tuningTask"] == {
        "hyperparameters": {"epochCount": 5, "batchSize": 4, "learningRate": 0.001}
    }


def test_the_examples_lie_in_the_folder_of_the_job(client: Any, store: Store) -> None:
    create(client)
    lines = store.artifacts_of(store.get_tuned_model("a")).examples.read_text().splitlines()
    assert [json.loads(line) for line in lines] == PAIRS


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"base_model": None}, "base_model is missing"),
        ({"base_model": "models/nope"}, "models/nope is not found for API version v1beta"),
        ({"base_model": "tunedModels/nope"}, "Tuned model tunedModels/nope does not exist."),
        ({"base_model": "nope"}, "must look like models/*"),
        (
            {"tuned_model_source": {"tuned_model": "tunedModels/x"}},
            "oneof field 'source_model' is already set",
        ),
        ({"tuning_task": None}, "training_data is missing"),
        ({"display_name": "x" * 41}, "display_name has 41 characters; the limit is 40"),
        ({"temperature": 1.5}, "temperature is 1.5; it must lie between 0 and 1"),
        ({"top_k": 0}, "top_k is 0"),
        ({"foo": 1}, "Unknown name \"foo\" at 'tuned_model'"),
    ],
)
def test_what_cannot_be_tuned_is_refused_and_leaves_nothing(
    client: Any, store: Store, changes: dict[str, Any], problem: str
) -> None:
    reply = client.post("/v1beta/tunedModels?tuned_model_id=a", json=body(**changes))
    assert reply.status_code in (400, 404)
    assert problem in error_of(reply)
    assert client.get("/v1beta/tunedModels").json() == {}
    assert store.artifacts.list_names() == []


def test_a_taken_id_is_a_conflict(client: Any) -> None:
    create(client)
    reply = client.post("/v1beta/tunedModels?tunedModelId=a", json=body())
    assert (reply.status_code, reply.json()["error"]["status"]) == (409, "ALREADY_EXISTS")


def test_a_full_disk_is_said_and_leaves_nothing(
    client: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tuning, "save_examples", fail)
    reply = client.post("/v1beta/tunedModels?tunedModelId=a", json=body())
    assert (reply.status_code, reply.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert "disk" in error_of(reply)
    assert store.find_tuned_model("a") is None


def test_lists_go_by_pages_oldest_first(client: Any) -> None:
    for name in "cab":
        create(client, name)
    first = client.get("/v1beta/tunedModels?page_size=2").json()
    second = client.get(f"/v1beta/tunedModels?pageSize=2&pageToken={first['nextPageToken']}").json()
    names = [model["name"][-1] for page in (first, second) for model in page["tunedModels"]]
    assert names == ["c", "a", "b"]
    assert "nextPageToken" not in second


def test_a_token_serves_only_its_own_list(client: Any) -> None:
    create(client, "a")
    create(client, "b")
    token = client.get("/v1beta/tunedModels?page_size=1").json()["nextPageToken"]
    reply = client.get(f"/v1beta/tunedModels?page_size=1&filter=owner:me&page_token={token}")
    assert (reply.status_code, "page_token" in error_of(reply)) == (400, True)


@pytest.mark.parametrize(
    ("text", "found"), [("number", "ab"), ("SPECIAL number", "b"), ("owner:me special", "b")]
)
def test_filters_are_joined_by_and(client: Any, text: str, found: str) -> None:
    create(client, "a")
    create(client, "b", description="a special one")
    models = client.get("/v1beta/tunedModels", params={"filter": text}).json()["tunedModels"]
    assert "".join(model["name"][-1] for model in models) == found


def test_an_unknown_operator_is_named(client: Any) -> None:
    reply = client.get("/v1beta/tunedModels?filter=owner:you")
    assert error_of(reply).startswith("filter has the term 'owner:you'")


def test_only_masked_fields_change(client: Any) -> None:
    create(client)
    whole = {"displayName": "new", "description": "d", "state": 2, "tuningTask": {"snapshots": [{"step": 1}]}}
    model = client.patch("/v1beta/tunedModels/a?updateMask=description", json=whole).json()
    assert (model["description"], model["displayName"], model["state"]) == (
        "d",
        "number generator model",
        "CREATING",
    )


def test_without_a_mask_the_bodys_fields_change(client: Any) -> None:
    create(client)
    model = client.patch("/v1/tunedModels/a", json={"displayName": "dn", "temperature": 0}).json()
    assert (model["displayName"], model["temperature"], model["topK"]) == ("dn", 0, 64)


def test_a_cleared_default_is_the_bases_again(client: Any) -> None:
    create(client, temperature=0.25)
    assert client.patch("/v1/tunedModels/a?update_mask=temperature", json={}).json()["temperature"] == 1


@pytest.mark.parametrize(("mask", "problem"), [("baseModel", "cannot be changed"), ("foo", "is not a field")])
def test_a_mask_of_other_fields_is_refused(client: Any, mask: str, problem: str) -> None:
    create(client)
    reply = client.patch(f"/v1beta/tunedModels/a?updateMask={mask}", json={"displayName": "x"})
    assert (reply.status_code, problem in error_of(reply)) == (400, True)


def test_a_deleted_model_is_gone(client: Any, store: Store) -> None:
    create(client)
    assert client.delete("/v1beta/tunedModels/a").text == "{}\n"
    reply = client.get("/v1beta/tunedModels/a")
    assert (reply.status_code, error_of(reply)) == (404, "Tuned model tunedModels/a does not exist.")
    assert store.artifacts.list_names() == []


@pytest.mark.parametrize(
    "source",
    [
        {"base_model": None, "tuned_model_source": {"tuned_model": "tunedModels/a", "base_model": ALIAS}},
        {"base_model": "tunedModels/a"},
    ],
)
def test_a_tuned_model_can_be_tuned_on(
    client: Any, store: Store, queue: Queue, source: dict[str, Any]
) -> None:
    create(client, "a", temperature=0.5)
    finish(queue)
    create(client, "b", **source)
    model = client.get("/v1beta/tunedModels/b").json()
    assert model["tunedModelSource"] == {"tunedModel": "tunedModels/a", "baseModel": ALIAS}
    assert ("baseModel" in model, model["temperature"]) == (False, 0.5)


def test_a_child_keeps_the_adapter_of_a_parent_that_is_deleted(client: Any, queue: Queue) -> None:
    create(client, "a")
    finish(queue, "weights")
    create(client, "b", base_model="tunedModels/a")
    client.delete("/v1beta/tunedModels/a")
    job = queue.claim("w", "tiny")
    assert job is not None and job.continues
    assert (job.artifacts.source / "adapter_model.safetensors").read_text() == "weights"


def test_an_unfinished_model_cannot_be_tuned_on(client: Any) -> None:
    create(client, "a")
    reply = client.post("/v1beta/tunedModels", json=body(base_model="tunedModels/a"))
    assert (reply.status_code, reply.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")


def test_base_models_are_listed_with_their_aliases(client: Any) -> None:
    models = client.get("/v1beta/models").json()["models"]
    names = [model["name"] for model in models]
    assert {ALIAS, "models/tiny"} <= set(names)
    assert "createTunedModel" in models[0]["supportedGenerationMethods"]


def test_base_models_go_by_pages(client: Any) -> None:
    names, token = [], ""
    while token is not None:
        page = client.get("/v1/models", params={"pageSize": 2, "pageToken": token}).json()
        names += [model["name"] for model in page["models"]]
        token = page.get("nextPageToken")
    assert len(names) == len(set(names)) == 5


def test_the_alias_says_what_the_old_service_said(client: Any) -> None:
    model = client.get(f"/v1beta/{ALIAS}").json()
    assert (model["displayName"], model["version"]) == ("Gemini 1.5 Flash 001 Tuning", "001")
    assert (model["inputTokenLimit"], model["outputTokenLimit"]) == (16384, 8192)
    assert (model["temperature"], model["maxTemperature"], model["topP"], model["topK"]) == (1, 2, 0.95, 64)


def test_an_unknown_base_model_is_told_in_googles_words(client: Any) -> None:
    reply = client.get("/v1beta/models/nope")
    assert reply.status_code == 404
    assert error_of(reply).endswith(
        "Call ListModels to see the list of available models and their supported methods."
    )


def test_what_breaks_googles_client_never_comes_back(client: Any, queue: Queue) -> None:
    task = {"training_data": TASK["training_data"], "hyperparameters": {"learning_rate_multiplier": 0.5}}
    create(client, tuning_task=task)
    finish(queue)
    model = client.get("/v1/tunedModels/a").json()
    assert set(model["tuningTask"]) == {"startTime", "completeTime", "hyperparameters"}
    assert model["tuningTask"]["hyperparameters"] == {"epochCount": 5, "batchSize": 4, "learningRate": 0.0005}
    assert model["state"] in ("CREATING", "ACTIVE", "FAILED")


def test_moments_are_in_utc_and_say_so(client: Any) -> None:
    create(client)
    model = client.get("/v1/tunedModels/a").json()
    assert model["createTime"].endswith("Z")
    assert model["createTime"] == model["updateTime"]
    assert "startTime" not in model["tuningTask"]


def test_an_empty_list_is_an_empty_object(client: Any) -> None:
    assert client.get("/v1beta/tunedModels").json() == {}


@pytest.mark.parametrize("model", ["models/qwen2.5/0.5b", "models/Qwen%2FQwen2.5"])
def test_a_model_id_is_one_segment(rest: Any, model: str) -> None:
    assert rest.get(f"/v1/{model}").status_code == 404


def test_an_update_leaves_the_time_of_tuning_alone(client: Any) -> None:
    create(client)
    before = client.get("/v1/tunedModels/a").json()["updateTime"]
    assert client.patch("/v1/tunedModels/a", json={"description": "d"}).json()["updateTime"] == before


def test_a_field_outside_the_mask_is_not_even_looked_at(client: Any) -> None:
    create(client)
    body = {"temperature": 7, "description": "d"}
    assert client.patch("/v1/tunedModels/a?updateMask=description", json=body).status_code == 200
    assert client.patch("/v1/tunedModels/a?updateMask=temperature", json=body).status_code == 400


@pytest.mark.parametrize(
    ("registry", "changes", "said"),
    [
        (
            TinyRegistry(),
            {"base": "other", "extra_bases": 0},
            "this service serves only models/other, because OVERTONE_EXTRA_BASES is 0.",
        ),
        (
            TinyRegistry(replace(tiny_card(), id="other", base_id="other")),
            {"base": "other"},
            "is not on this machine. Fetch it with: overtone models pull tiny",
        ),
    ],
)
def test_a_base_that_is_not_served_is_refused_with_the_way_out(
    store: Store,
    queue: Queue,
    settings: Settings,
    access: Access,
    registry: TinyRegistry,
    changes: dict[str, Any],
    said: str,
) -> None:
    settings = replace(settings, **changes)
    models = build_models(store, registry, access, settings)  # type: ignore[arg-type]
    servicers = build_servicers(store, queue, models, access, OneEngine(EchoEngine()), settings)
    with TestClient(rest_door.build(servicers, access.authenticate, settings), base_url=HOME) as client:
        for path in ("/v1/tunedModels", f"/v1/{ALIAS}:generateContent"):
            asked = body() if path == "/v1/tunedModels" else {"contents": [{"parts": [{"text": "hi"}]}]}
            reply = client.post(path, json=asked)
            error = reply.json()["error"]
            assert (reply.status_code, error["status"]) == (400, "FAILED_PRECONDITION")
            assert error["message"].endswith(said)
    assert store.list_tuned_models(Question(Grantee("")), 0, 9) == []
