"""The documents about the API, held against the clients that read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.doors.gemini import rest_door
from overtone.doors.gemini.rpcs import RPCS, Rpc


class Anything:
    """A servicer with every method."""

    def __getattr__(self, name: str) -> Any:
        def method(request: Any, caller: Any) -> Any:
            """Do a thing & tell.

            More about it.
            """

        return method


@pytest.fixture
def http() -> TestClient:
    servicers = {rpc.service: Anything() for rpc in RPCS}
    return TestClient(rest_door.build(servicers, lambda presented: presented, Settings()))


def supported() -> list[Rpc]:
    return [rpc for rpc in RPCS if not rpc.instead]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", ["v1beta", "v1"])
def test_googles_discovery_based_client_can_be_built_and_asks_for_our_paths(
    http: TestClient, version: str
) -> None:
    discovery = pytest.importorskip("googleapiclient.discovery")
    document = http.get("/$discovery/rest", params={"version": version}).json()
    service = discovery.build_from_document(document, developerKey="K")
    tuned = service.tunedModels()
    example = {"textInput": "1", "output": "2"}
    body = {"tuningTask": {"trainingData": {"examples": {"examples": [example]}}}}
    requests = [
        tuned.create(tunedModelId="a", body=body),
        tuned.get(name="tunedModels/a"),
        tuned.patch(name="tunedModels/a", updateMask="description", body={"description": "d"}),
        tuned.generateContent(model="tunedModels/a", body={"contents": []}),
        tuned.permissions().create(parent="tunedModels/a", body={"role": "READER"}),
        tuned.operations().get(name="tunedModels/a/operations/b"),
        service.models().list(pageSize=5),
    ]
    asked = [
        (each.method, each.uri.removeprefix(f"http://testserver/{version}/").partition("?")[0])
        for each in requests
    ]
    assert asked == [
        ("POST", "tunedModels"),
        ("GET", "tunedModels/a"),
        ("PATCH", "tunedModels/a"),
        ("POST", "tunedModels/a:generateContent"),
        ("POST", "tunedModels/a/permissions"),
        ("GET", "tunedModels/a/operations/b"),
        ("GET", "models"),
    ]


def test_an_unknown_version_has_no_document(http: TestClient) -> None:
    reply = http.get("/$discovery/rest?version=v7")
    assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_every_reference_in_the_documents_leads_somewhere(http: TestClient) -> None:
    for url, start in (("/$discovery/rest", ""), ("/openapi.json", "#/components/schemas/")):
        document = http.get(url).json()
        schemas = document.get("schemas") or document["components"]["schemas"]
        references = set(json.dumps(document).split('"$ref": "')[1:])
        assert {text.partition('"')[0].removeprefix(start) for text in references} <= set(schemas)


def test_openapi_has_every_supported_path_and_no_other(http: TestClient) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    declared = sum(len(rpc.templates) + len(rpc.ours) for rpc in supported())
    assert sum(len(methods) for methods in paths.values()) == declared
    create = paths["/v1beta/tunedModels"]["post"]
    assert [parameter["name"] for parameter in create["parameters"]] == ["tunedModelId"]
    assert create["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/TunedModel")


def test_operation_ids_are_unique(http: TestClient) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_the_page_names_every_method_and_says_what_it_does(http: TestClient) -> None:
    page = http.get("/reference").text
    assert all(f"<code>{rpc.method}</code>" in page for rpc in supported())
    assert "Do a thing &amp; tell." in page
    assert "More about it" not in page


def test_the_address_itself_shows_a_page_that_leads_on(http: TestClient) -> None:
    reply = http.get("/")
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/html")
    assert 'href="/reference"' in reply.text and "http://testserver" in reply.text
