"""The REST door by itself, in front of a servicer that says back what it was asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.doors.gemini import messages as m
from overtone.doors.gemini import rest_door
from overtone.doors.gemini.rpcs import VERSIONS, Rpc
from overtone.errors import ApiError, Code, NotFound
from overtone.service.access import Credentials


class Echo:
    """Answers every method with what it got."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.callers: list[Credentials] = []

    def get_tuned_model(self, request: m.GetTunedModelRequest, caller: Credentials) -> m.TunedModel:
        self.requests.append(request)
        self.callers.append(caller)
        if request.name == "tunedModels/missing":
            raise NotFound("Tuned model tunedModels/missing does not exist.")
        if request.name == "tunedModels/broken":
            raise RuntimeError("secret detail")
        return m.TunedModel(name=request.name)

    def list_tuned_models(self, request: Any, caller: Credentials) -> m.ListTunedModelsResponse:
        self.requests.append(request)
        self.callers.append(caller)
        return m.ListTunedModelsResponse()

    def create_tuned_model(self, request: Any, caller: Credentials) -> m.Operation:
        self.requests.append(request)
        return m.Operation(name="tunedModels/a/operations/b")

    def update_tuned_model(self, request: Any, caller: Credentials) -> m.TunedModel:
        self.requests.append(request)
        return request.tuned_model

    def cancel_operation(self, request: Any, caller: Credentials) -> m.Empty:
        self.requests.append(request)
        return m.Empty()


RPCS = (
    Rpc("S", "GetTunedModel", m.GetTunedModelRequest, m.TunedModel, "GET", ("{name=tunedModels/*}",)),
    Rpc("S", "ListTunedModels", m.ListTunedModelsRequest, m.ListTunedModelsResponse, "GET", ("tunedModels",)),
    Rpc("S", "CreateTunedModel", m.CreateTunedModelRequest, m.Operation, "POST",
        ("tunedModels",), "tuned_model"),
    Rpc("S", "UpdateTunedModel", m.UpdateTunedModelRequest, m.TunedModel, "PATCH",
        ("{tuned_model.name=tunedModels/*}",), "tuned_model"),
    Rpc("S", "CancelOperation", m.CancelOperationRequest, m.Empty, "POST",
        ("{name=tunedModels/*/operations/*}:cancel",), "*", ("{name=tunedModels/*}:cancel",)),
)  # fmt: skip


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def http(echo: Echo) -> TestClient:
    app = rest_door.build({"S": echo}, lambda presented: presented, Settings(max_body_mb=1), rpcs=RPCS)
    return TestClient(app, raise_server_exceptions=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_has_every_route(http: TestClient, version: str) -> None:
    assert http.get(f"/{version}/tunedModels/a").json() == {"name": "tunedModels/a"}


def test_the_answer_is_pretty_json_unless_told_otherwise(http: TestClient) -> None:
    reply = http.get("/v1/tunedModels/a")
    assert reply.headers["content-type"] == "application/json; charset=UTF-8"
    assert reply.text == '{\n  "name": "tunedModels/a"\n}\n'
    assert http.get("/v1/tunedModels/a?prettyPrint=false").text == '{"name":"tunedModels/a"}'


@pytest.mark.parametrize("query", ["page_size=5&page_token=t", "pageSize=5&pageToken=t"])
def test_query_parameters_come_in_both_spellings(http: TestClient, echo: Echo, query: str) -> None:
    assert http.get(f"/v1/tunedModels?{query}").text == "{}\n"
    assert (echo.requests[0].page_size, echo.requests[0].page_token) == (5, "t")


def test_standard_parameters_are_ignored(http: TestClient) -> None:
    query = "alt=json&$alt=json;enum-encoding=int&key=K&fields=name&quotaUser=u&callback=f&$.xgafv=1"
    assert http.get(f"/v1/tunedModels?{query}").status_code == 200


def test_a_key_glued_to_the_page_token_is_cut_off_and_used(http: TestClient, echo: Echo) -> None:
    http.get("/v1beta/tunedModels?page_size=5&page_token=TOKEN?key=KEY")
    assert echo.requests[0].page_token == "TOKEN"
    assert echo.callers[0].key == "KEY"


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("?key=K", {}, Credentials(key="K")),
        ("", {"x-goog-api-key": "K"}, Credentials(key="K")),
        ("", {"Authorization": "Bearer T", "x-goog-user-project": "p"}, Credentials(bearer="T", project="p")),
        ("", {"Authorization": "Bearer "}, Credentials()),
        ("?key=K", {"Authorization": "Bearer "}, Credentials(key="K")),
    ],
)
def test_credentials_are_found_wherever_clients_put_them(
    http: TestClient, echo: Echo, query: str, headers: dict[str, str], expected: Credentials
) -> None:
    http.get(f"/v1/tunedModels/a{query}", headers=headers)
    assert echo.callers == [replace(expected, host="testserver")]


def test_the_body_fills_the_field_that_the_row_names(http: TestClient, echo: Echo) -> None:
    http.post("/v1/tunedModels?tunedModelId=x", content='{"display_name": "d",}')
    assert echo.requests[0].tuned_model_id == "x"
    assert echo.requests[0].tuned_model.display_name == "d"


def test_the_path_has_the_last_word_on_the_name(http: TestClient) -> None:
    reply = http.patch(
        "/v1/tunedModels/a?updateMask=displayName", json={"name": "tunedModels/b", "displayName": "d"}
    )
    assert reply.json() == {"name": "tunedModels/a", "displayName": "d"}


@pytest.mark.parametrize("body", [b"", b"{}"])
@pytest.mark.parametrize("name", ["tunedModels/a", "tunedModels/a/operations/b"])
def test_a_bodiless_post_is_an_empty_one(http: TestClient, echo: Echo, name: str, body: bytes) -> None:
    assert http.post(f"/v1beta/{name}:cancel", content=body).text == "{}\n"
    assert echo.requests[0].name == name


def test_a_body_where_none_belongs_is_ignored(http: TestClient) -> None:
    assert http.request("GET", "/v1/tunedModels/a", content=b"not json").status_code == 200


def test_an_encoded_colon_is_a_colon(http: TestClient) -> None:
    assert http.post("/v1/tunedModels/a%3Acancel").status_code == 200


def test_an_error_has_googles_shape(http: TestClient) -> None:
    reply = http.get("/v1/tunedModels/missing")
    assert reply.status_code == 404
    assert reply.json() == {
        "error": {
            "code": 404,
            "message": "Tuned model tunedModels/missing does not exist.",
            "status": "NOT_FOUND",
        }
    }


def test_an_unforeseen_error_is_logged_and_not_told(
    http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    reply = http.get("/v1/tunedModels/broken")
    assert (reply.status_code, reply.json()["error"]["status"]) == (500, "INTERNAL")
    assert "secret" not in reply.text
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/v1/nothing"),
        ("GET", "/v1/tunedModels/a:b"),
        ("PUT", "/v1/tunedModels/a"),
        ("GET", "/v9/tunedModels"),
    ],
)
def test_what_no_row_has_is_not_found_in_googles_shape(http: TestClient, verb: str, path: str) -> None:
    reply = http.request(verb, path)
    assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_a_parameter_that_no_request_has_is_told_in_googles_words(http: TestClient) -> None:
    message = http.get("/v1/tunedModels?foo=1").json()["error"]["message"]
    assert message == (
        'Invalid JSON payload received. Unknown name "foo": Cannot bind query parameter. '
        "Field 'foo' could not be found in request message."
    )


def test_a_body_too_large_is_refused_with_both_numbers(http: TestClient, echo: Echo) -> None:
    reply = http.post("/v1/tunedModels", content=b'{"description": "' + b"x" * 2**20 + b'"}')
    assert reply.status_code == 400
    assert "exceeds the limit: 1048576 bytes" in reply.json()["error"]["message"]
    assert not echo.requests


def test_the_body_of_a_stranger_is_not_read() -> None:
    def refuse(presented: Credentials) -> Any:
        raise ApiError("API key not valid.", code=Code.UNAUTHENTICATED)

    async def send() -> list[Any]:
        answers: list[Any] = []

        async def answer(message: Any) -> None:
            answers.append(message)

        await app(scope, AsyncMock(side_effect=AssertionError("the body was read")), answer)
        return answers

    app = rest_door.build({"S": Echo()}, refuse, Settings(), rpcs=RPCS)
    path = "/v1/tunedModels"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    assert asyncio.run(send())[0]["status"] == 401


@pytest.mark.parametrize(
    "path", ["/v1/tunedModels/a%2Fb", "/v1/tunedModels/%2e%2e", "/v1/tunedModels/" + "x" * 10_000]
)
def test_strange_ids_are_answered_calmly(http: TestClient, path: str) -> None:
    assert http.get(path).status_code in (200, 404)
