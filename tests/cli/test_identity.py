"""Keys, groups and certificates, on a data folder that no service holds."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from overtone.config import LOCAL_OWNER
from overtone.store.store import Store
from tests.cli.conftest import Run, said
from tests.store.rows import add_model


@pytest.fixture
def on(run: Run, tmp_path: Path) -> Run:
    """Run a command on a data folder of its own."""
    return lambda *arguments: run(*arguments, "--data", str(tmp_path / "data"))


def test_a_key_is_shown_once_and_listed_without_its_secret(on: Run) -> None:
    key = on("keys", "create", "--user", "me@example.com", "--project", "123").stdout.strip()
    listed = on("keys", "list").output
    assert "me@example.com" in listed and "123" in listed
    assert key not in listed and key.split("_", 2)[2] not in listed


def test_a_revoked_key_is_gone(on: Run) -> None:
    on("keys", "create", "--user", "me@example.com")
    key_id = on("keys", "list").output.splitlines()[1].split()[0]
    assert on("keys", "revoke", key_id).stdout == f"Revoked {key_id}.\n"
    assert on("keys", "list").output == "There are no keys.\n"
    assert "There is no key" in said(on("keys", "revoke", key_id))


@pytest.mark.parametrize("email", ["me", "@example.com", "me@", "me @example.com"])
def test_a_user_is_an_email_address(on: Run, email: str) -> None:
    assert "is not an email address" in said(on("keys", "create", "--user", email))


def test_a_project_is_a_number(on: Run) -> None:
    assert "must be a project number" in said(on("keys", "create", "--user", "a@b.c", "--project", "mine"))


def test_groups_have_members(on: Run) -> None:
    on("groups", "add", "team@x.org", "a@x.org", "b@x.org")
    on("groups", "remove", "team@x.org", "a@x.org")
    assert on("groups", "list").output.splitlines()[1:] == ["team@x.org  b@x.org"]
    assert said(on("groups", "remove", "team@x.org", "a@x.org")) == "Not in team@x.org: a@x.org."


def test_a_certificate_is_made_and_its_use_explained(on: Run, tmp_path: Path) -> None:
    output = on("tls", "--host", "box.lan").output
    cert = tmp_path / "data" / "tls" / "cert.pem"
    assert cert.read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert f"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={cert}" in output
    assert (cert.parent / "key.pem").stat().st_mode & 0o077 == 0


def test_the_first_key_says_what_it_changes_and_takes_over_what_was_made_before(
    on: Run, tmp_path: Path
) -> None:
    with closing(Store(f"sqlite:///{tmp_path}/data/overtone.db", tmp_path / "data" / "tuned")) as store:
        add_model(store, "a", owner=LOCAL_OWNER)
    first = on("keys", "create", "--user", "me@example.com")
    assert first.stdout.startswith("ot_")
    assert "From now on every call needs a key" in first.stderr
    assert "1 tuned model created without a key belongs to owner@localhost" in first.stderr

    second = on("keys", "create", "--user", "me@example.com", "--take-over")

    assert "me@example.com now owns 1 tuned model" in second.stderr
    assert "From now on" not in second.stderr
    with closing(Store(f"sqlite:///{tmp_path}/data/overtone.db", tmp_path / "data" / "tuned")) as store:
        assert store.get_tuned_model("a").owner_email == "me@example.com"


def test_revoking_the_last_key_leaves_the_service_closed_until_it_is_opened(on: Run) -> None:
    on("keys", "create", "--user", "me@example.com")
    assert "revoke them first" in said(on("keys", "open"))
    key_id = on("keys", "list").output.splitlines()[1].split()[0]
    assert "That was the last key: nobody can call now" in on("keys", "revoke", key_id).stderr
    assert "now answers this machine without a key" in on("keys", "open").stdout


def test_opening_says_what_stays_hidden(on: Run, tmp_path: Path) -> None:
    with closing(Store(f"sqlite:///{tmp_path}/data/overtone.db", tmp_path / "data" / "tuned")) as store:
        add_model(store, "a", owner="anna@example.com")
        add_model(store, "b", owner=LOCAL_OWNER)
    opened = on("keys", "open")
    assert "every caller is owner@localhost" in opened.stdout
    assert "1 tuned model of other users stays hidden" in opened.stderr


@pytest.mark.parametrize("verb", [["tls"], ["demo"], ["models", "pull"]])
def test_a_data_folder_that_cannot_be_made_is_told(run: Run, tmp_path: Path, verb: list[str]) -> None:
    (tmp_path / "file").touch()
    assert "Choose another with --data" in said(run(*verb, "--data", str(tmp_path / "file" / "data")))


def test_groups_say_what_they_did(on: Run) -> None:
    added = on("groups", "add", "team@example.com", "me@example.com").stdout
    assert added == "me@example.com is now in team@example.com.\n"
