"""Who may do what, with keys and without."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from overtone.config import Settings
from overtone.doors.credentials import Credentials
from overtone.errors import NotFound, OvertoneError, PermissionDenied
from overtone.service.access import Access, check_exposure, is_loopback
from overtone.store.store import Store
from tests.doors.gemini.test_model_service import create
from tests.doors.gemini.test_permission_service import SHARES
from tests.store.rows import add_model

ANN, BOB = "ann@example.com", "bob@example.com"
READ, WRITE, SHARE, DELETE = "read", "write", "share", "delete"


@pytest.fixture
def keys(store: Store) -> dict[str, str]:
    return {email: store.keys.create(email) for email in (ANN, BOB)}


def as_(key: str) -> dict[str, str]:
    return {"x-goog-api-key": key}


def message_of(reply: Any) -> str:
    return reply.json()["error"]["message"]


def make(client: Any, key: str) -> None:
    from tests.doors.gemini.test_model_service import body

    assert client.post("/v1/tunedModels?tunedModelId=a", json=body(), headers=as_(key)).status_code == 200


def test_without_keys_everyone_at_home_is_the_owner(client: Any) -> None:
    create(client)
    reply = client.get("/v1/tunedModels/a?key=anything", headers={"Authorization": "Bearer x"})
    assert reply.status_code == 200


def test_with_keys_nobody_comes_in_without_one(client: Any, keys: dict[str, str]) -> None:
    reply = client.get("/v1/models")
    assert (reply.status_code, reply.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert message_of(reply).startswith("Method doesn't allow unregistered callers")


@pytest.mark.parametrize("key", ["wrong", "ot_", "ot_00000000_x", "é\u2028", "x" * 5000])
def test_a_wrong_key_is_told_as_google_does(rest: TestClient, keys: dict[str, str], key: str) -> None:
    reply = rest.get("/v1/models", params={"key": key})
    error = reply.json()["error"]
    assert (reply.status_code, error["message"]) == (400, "API key not valid. Please pass a valid API key.")
    assert error["details"][0]["reason"] == "API_KEY_INVALID"


def test_a_wrong_key_over_grpc_has_the_same_details(client: Any, keys: dict[str, str]) -> None:
    error = client.get("/v1/models", headers=as_("wrong")).json()["error"]
    assert error["details"][0]["metadata"] == {"service": "generativelanguage.googleapis.com"}


def test_a_key_with_the_right_id_and_a_wrong_end_is_wrong(client: Any, keys: dict[str, str]) -> None:
    assert client.get("/v1/models", headers=as_(keys[ANN][:-1])).status_code == 400


def test_a_key_is_taken_in_every_place(rest: TestClient, keys: dict[str, str]) -> None:
    key = keys[ANN]
    replies = [
        rest.get(f"/v1/models?key={key}"),
        rest.get("/v1/models", headers=as_(key)),
        rest.get("/v1/models", headers={"Authorization": f"Bearer {key}"}),
        rest.get(f"/v1/models?key={key}", headers={"Authorization": "Bearer "}),
    ]
    assert [reply.status_code for reply in replies] == [200] * 4


def test_a_key_glued_to_the_page_token_opens_the_second_page(rest: TestClient, keys: dict[str, str]) -> None:
    key = keys[ANN]
    token = rest.get(f"/v1/models?page_size=1&key={key}").json()["nextPageToken"]
    assert rest.get(f"/v1/models?page_size=1&page_token={token}?key={key}").status_code == 200


def test_a_revoked_key_is_wrong_at_once(client: Any, store: Store, keys: dict[str, str]) -> None:
    (row,) = [row for row in store.keys.list() if row.email_address == ANN]
    assert store.keys.revoke(row.id)
    assert client.get("/v1/models", headers=as_(keys[ANN])).status_code == 400


ROLES = {
    None: set[str](),
    "READER": {READ},
    "WRITER": {READ, WRITE, SHARE},
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("by", ["USER", "GROUP", "EVERYONE"])
def test_a_role_allows_what_it_says(
    client: Any, store: Store, keys: dict[str, str], role: str | None, by: str
) -> None:
    make(client, keys[ANN])
    store.groups.add("team@example.com", BOB)
    email = {"USER": {"emailAddress": BOB}, "GROUP": {"emailAddress": "team@example.com"}}.get(by, {})
    if role:
        client.post(SHARES, json={"granteeType": by, "role": role, **email}, headers=as_(keys[ANN]))
    tries = {
        READ: client.get("/v1/tunedModels/a", headers=as_(keys[BOB])),
        WRITE: client.patch("/v1/tunedModels/a", json={"description": "x"}, headers=as_(keys[BOB])),
        SHARE: client.get(SHARES, headers=as_(keys[BOB])),
        DELETE: client.delete("/v1/tunedModels/a", headers=as_(keys[BOB])),
    }
    assert {name for name, reply in tries.items() if reply.status_code == 200} == ROLES[role]
    refused = [message_of(reply) for reply in tries.values() if reply.status_code == 403]
    assert set(refused) == {"You do not have permission to access tuned model tunedModels/a."}


def test_strangers_may_not_call_a_model(client: Any, keys: dict[str, str]) -> None:
    make(client, keys[ANN])
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    for method in ("generateContent", "streamGenerateContent", "countTokens"):
        reply = client.post(f"/v1/tunedModels/a:{method}", json=body, headers=as_(keys[BOB]))
        assert reply.status_code == 403


@pytest.mark.parametrize(
    ("filter_text", "seen"),
    [("", ""), ("owner:me", ""), ("writers:me", ""), ("readers:me", ""), ("readers:everyone", "a")],
)
def test_what_is_shared_with_everyone_is_listed_only_when_asked_for(
    client: Any, keys: dict[str, str], filter_text: str, seen: str
) -> None:
    make(client, keys[ANN])
    client.post(SHARES, json={"granteeType": "EVERYONE", "role": "READER"}, headers=as_(keys[ANN]))
    found = client.get("/v1/tunedModels", params={"filter": filter_text}, headers=as_(keys[BOB])).json()
    assert "".join(model["name"][-1] for model in found.get("tunedModels", [])) == seen


def test_a_filter_has_a_limit(client: Any) -> None:
    reply = client.get("/v1/tunedModels", params={"filter": " ".join(["readers:me"] * 21)})
    assert "has 21 terms; the limit is 20" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("role", "filters"), [("READER", ["", "readers:me"]), ("WRITER", ["", "readers:me", "writers:me"])]
)
def test_filters_know_the_callers_roles(
    client: Any, keys: dict[str, str], role: str, filters: list[str]
) -> None:
    make(client, keys[ANN])
    grant = {"granteeType": "USER", "emailAddress": BOB, "role": role}
    client.post(SHARES, json=grant, headers=as_(keys[ANN]))
    every = ("", "readers:me", "writers:me", "owner:me", "readers:everyone")
    found = [
        text
        for text in every
        if client.get("/v1/tunedModels", params={"filter": text}, headers=as_(keys[BOB])).json()
    ]
    assert found == filters


def test_a_project_named_by_the_owner_reads(client: Any, store: Store, keys: dict[str, str]) -> None:
    make(client, keys[ANN])
    stranger = as_(store.keys.create("cid@example.com", project="123"))
    assert client.get("/v1/tunedModels/a", headers=stranger).status_code == 403
    client.patch("/v1/tunedModels/a", json={"readerProjectNumbers": ["123"]}, headers=as_(keys[ANN]))
    assert client.get("/v1/tunedModels/a", headers=stranger).json()["readerProjectNumbers"] == ["123"]
    assert client.delete("/v1/tunedModels/a", headers=stranger).status_code == 403


def test_a_page_token_is_of_no_use_to_another_caller(client: Any, keys: dict[str, str]) -> None:
    from tests.doors.gemini.test_model_service import body

    for _ in range(2):
        client.post("/v1/tunedModels", json=body(), headers=as_(keys[ANN]))
    token = client.get("/v1/tunedModels?pageSize=1", headers=as_(keys[ANN])).json()["nextPageToken"]
    reply = client.get(f"/v1/tunedModels?pageSize=1&pageToken={token}", headers=as_(keys[BOB]))
    assert "page_token is not a token" in message_of(reply)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:1", "[::1]:8080", "app.localhost", ""])
def test_an_open_service_answers_at_home(store: Store, host: str) -> None:
    assert Access(store, Settings()).authenticate(Credentials(host=host))


@pytest.mark.parametrize(
    "host", ["evil.example", "10.0.0.7:8080", "127.0.0.1.evil.example", "[", "localhost.evil:80"]
)
def test_an_open_service_refuses_other_hosts(store: Store, host: str) -> None:
    with pytest.raises(PermissionDenied, match="answers only to loopback addresses"):
        Access(store, Settings()).authenticate(Credentials(host=host))


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1:8080.evil"]
)
def test_an_open_service_refuses_pages_of_other_origins(store: Store, origin: str) -> None:
    with pytest.raises(PermissionDenied, match="does not answer pages from"):
        Access(store, Settings()).authenticate(Credentials(host="127.0.0.1:8080", origin=origin))


def test_its_own_pages_and_named_ones_are_answered(store: Store) -> None:
    access = Access(store, Settings(cors_origins="http://localhost:3000, https://lab.example"))
    for origin in ("http://127.0.0.1:8080", "http://localhost:3000", "https://lab.example"):
        assert access.authenticate(Credentials(host="127.0.0.1:8080", origin=origin))


def test_a_service_on_the_net_needs_a_key(store: Store) -> None:
    settings = Settings(host="0.0.0.0")
    with pytest.raises(OvertoneError, match="overtone keys create --user EMAIL"):
        check_exposure(settings, store)
    with pytest.raises(PermissionDenied):
        Access(store, settings).authenticate(Credentials())
    store.keys.create(ANN)
    check_exposure(settings, store)


@pytest.mark.parametrize(
    ("host", "answer"), [("::1", True), ("127.9.9.9", True), ("0.0.0.0", False), ("lab", False)]
)
def test_the_loopback_is_known(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_browsers_are_let_in_only_from_named_origins(
    servicers: Any, access: Access, settings: Settings
) -> None:
    from dataclasses import replace

    from overtone.doors.gemini import rest_door

    named = replace(settings, cors_origins="https://lab.example")
    preflight = {
        "Origin": "https://lab.example",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "x-goog-api-key,content-type",
    }
    for each, allowed in ((settings, None), (named, "https://lab.example")):
        app = rest_door.build(servicers, access.authenticate, each)
        reply = TestClient(app, base_url="http://localhost").options("/v1/models", headers=preflight)
        assert reply.headers.get("access-control-allow-origin") == allowed


def test_a_model_shared_with_a_group_is_in_its_members_lists(
    client: Any, keys: dict[str, str], store: Store
) -> None:
    make(client, keys[ANN])
    share = {"granteeType": "GROUP", "emailAddress": "team@example.com", "role": "WRITER"}
    assert client.post("/v1/tunedModels/a/permissions", json=share, headers=as_(keys[ANN])).status_code == 200
    assert client.get("/v1/tunedModels", headers=as_(keys[BOB])).json() == {}

    store.groups.add("team@example.com", BOB)

    for filter_ in ("", "writers:me", "readers:me"):
        found = client.get(f"/v1/tunedModels?filter={filter_}", headers=as_(keys[BOB])).json()
        assert [model["name"] for model in found["tunedModels"]] == ["tunedModels/a"]
    assert client.get("/v1/tunedModels?filter=owner:me", headers=as_(keys[BOB])).json() == {}


def test_a_service_whose_last_key_was_revoked_stays_closed(client: Any, store: Store) -> None:
    key = store.keys.create(ANN)
    store.keys.revoke(store.keys.list()[0].id)
    for headers in ({}, as_(key)):
        assert client.get("/v1/models", headers=headers).status_code in (400, 403)


def test_a_service_is_open_again_when_that_is_said(client: Any, store: Store) -> None:
    store.keys.create(ANN)
    store.keys.revoke(store.keys.list()[0].id)
    store.keys.open()
    assert client.get("/v1/models").status_code == 200


def test_a_permission_that_has_become_the_owner_s_is_not_taken_away(store: Store) -> None:
    uid = add_model(store, "a", owner=ANN).uid
    bobs = store.permissions.create(uid, "USER", BOB, "WRITER")
    store.permissions.transfer_ownership(uid, BOB)  # between a look at Bob's permission and what follows
    store.permissions.delete(bobs)
    with pytest.raises(NotFound):
        store.permissions.update_role(bobs, "READER")
    assert store.get_tuned_model("a").owner_email == BOB
