"""Operations as clients wait for them."""

from __future__ import annotations

from typing import Any

import pytest
from google.longrunning import operations_proto_pb2
from google.protobuf import json_format

from overtone.errors import Code
from overtone.jobs.queue import Cancelled, Failed, Queue, Succeeded
from tests.doors.gemini.test_model_service import create
from tests.store.rows import snapshot

TYPE = "type.googleapis.com/google.ai.generativelanguage.v1beta"


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_an_operation_is_found_under_every_version(client: Any, version: str) -> None:
    name = create(client)["name"]
    assert client.get(f"/{version}/{name}").json()["metadata"]["@type"] == f"{TYPE}.CreateTunedModelMetadata"


def test_a_running_operation_says_how_far_it_is(client: Any, queue: Queue) -> None:
    name = create(client)["name"]
    job = queue.claim("w", "tiny")
    assert job is not None
    queue.beat(job, [snapshot(step) for step in range(1, 20)])
    operation = client.get(f"/v1/{name}").json()
    assert "done" not in operation
    assert (operation["metadata"]["completedSteps"], operation["metadata"]["completedPercent"]) == (19, 50)
    assert operation["metadata"]["snapshots"][0] == {
        "step": 1,
        "meanLoss": 1,
        "computeTime": "2026-01-02T03:04:05.678901Z",
    }


def test_a_finished_operation_holds_the_model(client: Any, queue: Queue) -> None:
    name = create(client)["name"]
    job = queue.claim("w", "tiny")
    assert job is not None
    queue.settle(job, Succeeded("d"))
    operation = client.get(f"/v1/{name}").json()
    model = client.get("/v1/tunedModels/a").json()
    assert operation["done"] is True
    assert operation["response"] == {"@type": f"{TYPE}.TunedModel", **model}
    assert (model["state"], model["updateTime"]) == ("ACTIVE", model["tuningTask"]["completeTime"])


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Failed(Code.INTERNAL, "It broke."), {"code": 13, "message": "It broke."}),
        (Cancelled("d"), {"code": 1, "message": "The tuning job was cancelled."}),
    ],
)
def test_an_unlucky_operation_holds_a_status_with_a_grpc_number(
    client: Any, queue: Queue, outcome: Failed | Cancelled, error: dict[str, object]
) -> None:
    name = create(client)["name"]
    job = queue.claim("w", "tiny")
    assert job is not None
    queue.settle(job, outcome)
    operation = client.get(f"/v1/{name}").json()
    assert (operation["done"], operation["error"], "response" in operation) == (True, error, False)


def test_googles_strict_reader_takes_every_operation(client: Any, queue: Queue) -> None:
    name = create(client)["name"]
    job = queue.claim("w", "tiny")
    assert job is not None
    queue.beat(job, [snapshot(1)])
    queue.settle(job, Succeeded("d"))
    json_format.Parse(
        client.get(f"/v1/{name}").text, operations_proto_pb2.Operation(), ignore_unknown_fields=False
    )


@pytest.mark.parametrize("path", ["/v1beta/tunedModels/a/operations", "/v1/operations"])
def test_operations_are_listed(client: Any, path: str) -> None:
    name = create(client)["name"]
    query = "?filter=&pageSize=5&returnPartialSuccess=true"
    assert [operation["name"] for operation in client.get(path + query).json()["operations"]] == [name]


@pytest.mark.parametrize("suffix", ["", "/operations/Y"])
@pytest.mark.parametrize("content", ["", "{}"])
def test_a_job_is_cancelled_by_either_name_and_twice(client: Any, suffix: str, content: str) -> None:
    name = create(client)["name"]
    cancelled = name if suffix else "tunedModels/a"
    for _ in range(2):
        assert client.post(f"/v1beta/{cancelled}:cancel", content=content).text == "{}\n"
    assert client.get(f"/v1/{name}").json()["error"]["code"] == 1


@pytest.mark.parametrize("name", ["tunedModels/a/operations/nope", "tunedModels/b/operations/nope"])
def test_a_missing_operation_is_not_found(client: Any, name: str) -> None:
    create(client)
    reply = client.get(f"/v1/{name}")
    assert (reply.status_code, reply.json()["error"]["message"]) == (404, f"Operation {name} does not exist.")
