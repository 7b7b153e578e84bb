"""Training data checked before a job, through both doors: `overtone.console.v1.Datasets`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.dataset.estimate import SpeedRecord
from overtone.dataset.examples import ProblemKind
from overtone.doors import console
from overtone.doors.console import messages as m
from overtone.doors.gemini import grpc_door, rest_door
from overtone.doors.gemini.rpcs import RPCS
from overtone.doors.gemini.servicers import build_servicers
from overtone.jobs.queue import Queue
from overtone.processor_name import processor_name
from overtone.service.access import Access
from overtone.service.models import build_models
from overtone.store.speeds import add_speed
from overtone.store.store import Store
from tests.doors.gemini.fakes import EchoEngine, OneEngine
from tests.store.databases import new_store
from tests.tiny import BASE_ID, make_base

Check = Callable[..., Any]
PATH = "/overtone/v1/datasets:check"
ALL_RPCS = (*RPCS, *console.RPCS)
ROWS = [{"prompt": "a", "completion": "1"}, {"prompt": "b", "completion": 2}]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("bases")).parent


@pytest.fixture
def settings(tmp_path: Path, bases: Path) -> Settings:
    (tmp_path / "bases").symlink_to(bases)
    return Settings(data=tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = new_store(settings.data)
    yield store
    store.close()


@pytest.fixture
def doors(store: Store, settings: Settings) -> Any:
    """What both doors are built of."""
    from overtone.bases.registry import Registry

    access = Access(store, settings)
    registry = Registry(settings.bases, settings.base)
    models = build_models(store, registry, access, settings)
    engines = OneEngine(EchoEngine())
    google = build_servicers(store, Queue(store), models, access, engines, settings)  # type: ignore[arg-type]
    return {**google, **console.build_servicers(models, settings)}, access.authenticate, settings


@pytest.fixture
def rest(doors: Any) -> TestClient:
    return TestClient(rest_door.build(*doors, rpcs=ALL_RPCS), base_url="http://127.0.0.1:8080")


@pytest.fixture
def check(rest: TestClient) -> Check:
    """Return the answer over REST, or the error that is one."""

    def call(status: int = 200, **body: Any) -> Any:
        response = rest.post(PATH, json=body)
        assert response.status_code == status, response.text
        return response.json()

    return call


def content_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_rows_are_checked(check: Check) -> None:
    found = check(source={"rows": ROWS})
    assert (found["format"], found["numRows"], found["refused"]) == ("rows", 2, True)
    assert found["columns"] == [{"input": "prompt", "output": "completion", "numRows": 2}]
    (problem,) = found["problems"]
    assert (problem["row"], problem["place"], problem["kind"]) == (1, "example 1", "not_text")
    assert (problem["severity"], problem["field"]) == ("error", "output")
    assert found["problemCounts"] == [{"kind": "not_text", "count": 1}]
    assert found["statistics"]["unit"] == "tokens"
    assert found["statistics"]["longest"][0]["row"] == 0
    assert (found["estimate"]["numSteps"], "seconds" in found["estimate"]) == (3, False)
    assert found["baseModel"] == f"models/{BASE_ID}"


def test_a_file_s_content_is_checked_by_its_name(check: Check) -> None:
    source = {"fileName": "x.csv", "content": content_of("Betreff;Text;Team\nA;B;T\nA;B;T\n")}
    found = check(source=source, input="{Betreff}: {Text}", output="Team")
    assert (found["format"], found["encoding"]) == ("a table with semicolons", "UTF-8")
    assert [each["kind"] for each in found["problems"]] == ["doubled"]
    assert "refused" not in found, "a warning refuses nothing"


def test_held_out_rows_are_compared(check: Check) -> None:
    found = check(source={"rows": ROWS[:1]}, held_out={"rows": ROWS[:1]})
    assert [each["kind"] for each in found["problems"]] == ["held_out"]


def test_the_limits_are_those_of_the_base_that_is_named(check: Check) -> None:
    source = {"rows": [{"prompt": "a", "completion": "x" * 5001}]}
    found = check(source=source, base_model="models/gemini-1.5-flash-001-tuning")
    sentences = [each["text"] for each in found["problems"]]
    assert sentences[0] == "has 5001 characters; the limit is 5000."
    assert "tokens with its output" in sentences[1]


def test_a_negative_number_of_problems_is_refused_by_name(check: Check) -> None:
    error = check(400, source={"rows": ROWS}, max_problems=-1)["error"]
    assert error["message"] == "max_problems is -1; it must not be negative."


def test_problems_are_counted_beyond_those_that_are_told(check: Check) -> None:
    found = check(source={"rows": [ROWS[1]] * 5}, max_problems=2)
    assert len(found["problems"]) == 2
    assert {each["kind"]: each["count"] for each in found["problemCounts"]} == {"not_text": 5, "doubled": 4}


def test_the_estimate_is_by_what_jobs_took_here(check: Check, settings: Settings) -> None:
    record = SpeedRecord(BASE_ID, processor_name(), "2 threads", "float32", 10, 1000, 10.0, 7)
    add_speed(settings.data, record)
    found = check(source={"rows": ROWS[:1]}, epoch_count=2, batch_size=1)["estimate"]
    assert (found["numSteps"], found["numJobs"], found["device"]) == (2, 1, "2 threads")
    assert found["seconds"] == pytest.approx(2 * 2 / 100), "by the tokens of the texts"


def test_what_cannot_be_read_is_an_answer_and_no_error(check: Check) -> None:
    source = {
        "fileName": "x.jsonl",
        "content": content_of('"half \\ud83d"\n{"prompt": "\\ud83d", "completion": "1"}'),
    }
    found = check(source=source)
    assert [each["kind"] for each in found["problems"]] == ["unreadable", "surrogate"]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({}, 400, "source is missing; give rows, or content with a file_name."),
        ({"source": {"content": "YQ=="}}, 400, "source.file_name is missing"),
        (
            {"source": {"content": "YQ==", "rows": ROWS}},
            400,
            "source has content and rows; give one of them.",
        ),
        (
            {"source": {"rows": ROWS}, "base_model": "models/none"},
            404,
            "The base model models/none does not exist",
        ),
        ({"source": {"rows": ROWS}, "epoch_count": -1}, 400, "epoch_count is -1; it must be at least 1."),
        ({"source": {"rows": ROWS}, "epochs": 1}, 400, 'Unknown name "epochs"'),
    ],
)
def test_what_is_wrong_with_the_request_itself_is_refused(
    body: dict[str, Any], status: int, sentence: str, check: Check
) -> None:
    assert sentence in check(status, **body)["error"]["message"]


def test_a_base_that_is_not_here_leaves_the_tokens_uncounted(rest: TestClient, settings: Settings) -> None:
    (settings.data / "bases").unlink()
    body = {"source": {"rows": ROWS[:1]}, "base_model": "models/gemini-1.5-flash-001"}
    found = rest.post(PATH, json=body).json()
    assert "Tokens are not counted" in found["uncounted"] and "models pull" in found["uncounted"]
    assert found["statistics"]["unit"] == "characters"


def test_grpc_says_the_same(rest: TestClient, doors: Any) -> None:
    import asyncio

    request = m.CheckDatasetRequest()
    json_format.ParseDict({"source": {"rows": ROWS}}, m.CheckDatasetRequest.pb(request))

    async def call() -> m.CheckDatasetResponse:
        server, port = await grpc_door.start(*doors, 0, rpcs=ALL_RPCS)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method = channel.unary_unary(
                "/overtone.console.v1.Datasets/CheckDataset",
                m.CheckDatasetRequest.serialize,
                m.CheckDatasetResponse.deserialize,
            )
            reply: m.CheckDatasetResponse = await method(request)
        await server.stop(None)
        return reply

    over_grpc = json_format.MessageToDict(m.CheckDatasetResponse.pb(asyncio.run(call())))
    assert over_grpc == rest.post(PATH, json={"source": {"rows": ROWS}}).json()


def test_it_is_in_the_documents_of_our_own_and_not_in_google_s(rest: TestClient) -> None:
    document = rest.get("/openapi.json").json()
    assert "post" in document["paths"][PATH]
    assert "CheckDatasetResponse" in document["components"]["schemas"]
    assert PATH in rest.get("/reference").text
    assert "datasets" not in rest.get("/$discovery/rest").json()["resources"]
    assert rest.post("/v1beta/datasets:check", json={}).status_code == 404


def test_every_kind_of_problem_has_a_word_on_the_wire() -> None:
    for kind in ProblemKind:
        assert m.DatasetProblem(kind=kind).kind == str(kind)
