"""Sharing and giving away."""

from __future__ import annotations

import re
from typing import Any

import pytest

from overtone.service.access import LOCAL_OWNER
from tests.doors.gemini.test_model_service import create

EVERYONE = {"granteeType": "EVERYONE", "role": "READER"}
USER = {"granteeType": "USER", "emailAddress": "U@example.com", "role": "READER"}
GROUP = {"granteeType": 2, "email_address": "g@example.com", "role": 2}
SHARES = "/v1beta/tunedModels/a/permissions"


def share(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    reply = client.post(SHARES, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (EVERYONE, EVERYONE),
        ({"granteeType": 3, "role": 3}, EVERYONE),
        (USER, {**USER, "emailAddress": "u@example.com"}),
        (GROUP, {"granteeType": "GROUP", "emailAddress": "g@example.com", "role": "WRITER"}),
    ],
)
def test_a_permission_is_given(client: Any, body: dict[str, Any], expected: dict[str, Any]) -> None:
    create(client)
    made = share(client, body)
    name = made.pop("name")
    assert made == expected
    assert re.fullmatch(r"tunedModels/a/permissions/[a-z0-9]+", name)
    assert client.get(f"/v1/{name}").json() == {"name": name, **expected}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"role": "READER"}, "grantee_type is missing"),
        ({"granteeType": "EVERYONE"}, "role is missing"),
        ({**EVERYONE, "emailAddress": "u@example.com"}, "must not be set when the grantee is EVERYONE"),
        ({"granteeType": "USER", "role": "READER"}, "it must be an email address"),
        ({**USER, "emailAddress": "nobody"}, "'nobody'; it must be an email address"),
        ({**USER, "role": "OWNER"}, "there is only one; use transferOwnership"),
    ],
)
def test_a_permission_that_cannot_be_is_refused(client: Any, body: dict[str, Any], problem: str) -> None:
    create(client)
    reply = client.post(SHARES, json=body)
    assert reply.status_code == 400
    assert problem in reply.json()["error"]["message"]


def test_nobody_gets_two_permissions(client: Any) -> None:
    create(client)
    share(client, USER)
    assert client.post(SHARES, json={**USER, "role": "WRITER"}).status_code == 409


def test_lists_hold_the_owner_and_go_by_pages(client: Any) -> None:
    create(client)
    share(client, EVERYONE)
    share(client, USER)
    first = client.get(f"{SHARES}?pageSize=2").json()
    second = client.get(SHARES, params={"pageSize": 2, "pageToken": first["nextPageToken"]}).json()
    roles = [permission["role"] for page in (first, second) for permission in page["permissions"]]
    assert roles == ["OWNER", "READER", "READER"]
    assert first["permissions"][0]["emailAddress"] == LOCAL_OWNER


def test_only_the_role_can_change(client: Any) -> None:
    create(client)
    name = share(client, USER)["name"]
    body = {"granteeType": 1, "emailAddress": "u@example.com", "role": 2}
    assert client.patch(f"/v1beta/{name}?updateMask=role", json=body).json()["role"] == "WRITER"
    reply = client.patch(f"/v1beta/{name}?updateMask=emailAddress", json=body)
    assert "only role can be changed" in reply.json()["error"]["message"]


def test_a_permission_is_taken_away(client: Any) -> None:
    create(client)
    name = share(client, EVERYONE)["name"]
    assert client.delete(f"/v1beta/{name}").json() == {}
    assert client.get(f"/v1beta/{name}").json()["error"]["message"] == f"Permission {name} does not exist."


def test_the_owners_permission_stays(client: Any) -> None:
    create(client)
    name = client.get(SHARES).json()["permissions"][0]["name"]
    assert client.delete(f"/v1beta/{name}").status_code == 400
    assert client.patch(f"/v1beta/{name}?updateMask=role", json={"role": "READER"}).status_code == 400


@pytest.mark.parametrize("body", [{"emailAddress": "new@example.com"}, {"email_address": "new@example.com"}])
def test_a_model_is_given_away_and_its_giver_writes(client: Any, body: dict[str, str]) -> None:
    create(client)
    assert client.post("/v1beta/tunedModels/a:transferOwnership", json=body).json() == {}
    roles = {p["emailAddress"]: p["role"] for p in client.get(SHARES).json()["permissions"]}
    assert roles == {LOCAL_OWNER: "WRITER", "new@example.com": "OWNER"}
    again = client.post("/v1beta/tunedModels/a:transferOwnership", json=body)
    assert (again.status_code, again.json()["error"]["message"]) == (
        403,
        "You need to be the owner of the resource to transfer ownership",
    )
    assert client.delete("/v1beta/tunedModels/a").status_code == 403


def test_other_resources_have_no_permissions_here(rest: Any) -> None:
    assert rest.post("/v1beta/corpora/x/permissions", json=EVERYONE).status_code == 404
