"""Keys and groups."""

from __future__ import annotations

from overtone.store.store import Store

ANN = "ann@example.com"


def test_a_key_finds_its_user(store: Store) -> None:
    key = store.keys.create("Ann@Example.com", project="7")
    row = store.keys.find(key)
    assert row is not None
    assert (row.email_address, row.project) == (ANN, "7")


def test_a_key_is_kept_nowhere(store: Store) -> None:
    key = store.keys.create(ANN)
    with store.reading() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM keys").all()
    assert key.split("_", 2)[2] not in str(rows)


def test_keys_are_listed_and_revoked(store: Store) -> None:
    assert not store.keys.exist()
    key = store.keys.create(ANN)
    (row,) = store.keys.list()
    assert row.id in key
    assert store.keys.revoke(row.id)
    assert not store.keys.revoke(row.id)
    assert store.keys.find(key) is None


def test_groups_have_members(store: Store) -> None:
    store.groups.add("Team@example.com", ANN)
    store.groups.add("team@example.com", ANN)
    assert store.groups.of(ANN) == ("team@example.com",)
    assert store.groups.list() == [("team@example.com", ANN)]
    assert store.groups.remove("team@example.com", ANN)
    assert store.groups.of(ANN) == ()
