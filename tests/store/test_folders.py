"""Whose folder it is, and what happens to files that no row knows: nothing of a user's is deleted."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from overtone.domain.sharing import Grantee, Question
from overtone.errors import OvertoneError
from overtone.store import folders
from overtone.store.database import Database
from overtone.store.store import Store, bind
from tests.store.databases import new_store
from tests.store.rows import add_model


def test_a_folder_that_no_model_owns_is_set_aside(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    row = add_model(store, "a")
    store.artifacts.create("b.0123").examples.write_text("precious")

    store.sweep_folders()

    assert store.artifacts.list_names() == [store.artifacts_of(row).name]
    (found,) = folders.list_set_aside(store.artifacts)
    assert (found.name, found.num_bytes) == ("b.0123", 8)
    assert "b.0123: no tuned model owns this folder; it was set aside" in caplog.text


def test_what_is_left_of_a_deleted_model_is_removed(store: Store) -> None:
    row = add_model(store, "a")
    store.delete_tuned_model(row)
    store.artifacts.create(store.artifacts_of(row).name)  # a trainer that was still writing
    store.sweep_folders()
    assert not store.artifacts_of(row).folder.exists()
    assert folders.list_set_aside(store.artifacts) == []


@pytest.mark.sqlite
def test_an_older_database_costs_no_files_and_the_newer_one_finds_them_again(
    store: Store, tmp_path: Path
) -> None:
    add_model(store, "a")
    store.close()
    file = tmp_path / "overtone.db"
    shutil.copy(file, tmp_path / "older.db")
    with closing(Store(store.url, store.artifacts.root)) as newer:
        later = add_model(newer, "later")
    shutil.copy(file, tmp_path / "newer.db")

    shutil.copy(tmp_path / "older.db", file)
    with closing(Store(store.url, store.artifacts.root)) as restored:
        restored.sweep_folders()
        assert [each.name for each in folders.list_set_aside(store.artifacts)] == [
            store.artifacts_of(later).name
        ]
    shutil.copy(tmp_path / "newer.db", file)
    with closing(Store(store.url, store.artifacts.root)) as back:
        back.sweep_folders()
        assert back.artifacts_of(later).folder.is_dir()


def test_another_database_over_the_folder_is_refused(store: Store, tmp_path: Path) -> None:
    row = add_model(store, "a")
    (tmp_path / "other").mkdir()
    with closing(new_store(tmp_path / "other")) as other:
        url = other.url
    with pytest.raises(OvertoneError, match=r"belongs to another data folder.*overtone bind"):
        Store(url, store.artifacts.root)
    assert store.artifacts_of(row).folder.is_dir()


def test_a_new_database_over_the_folder_is_refused_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    add_model(store, "a")
    new = tmp_path / "new.db"
    with pytest.raises(OvertoneError, match=r"which belongs to .*OVERTONE_DATABASE_URL"):
        Store(f"sqlite:///{new}", store.artifacts.root)
    assert not new.exists()


@pytest.mark.sqlite
@pytest.mark.parametrize("content", [None, b""], ids=["deleted", "empty"])
def test_a_database_that_is_lost_is_refused(store: Store, tmp_path: Path, content: bytes | None) -> None:
    row = add_model(store, "a")
    store.close()
    for path in tmp_path.glob("overtone.db*"):
        path.unlink()
    if content is not None:
        (tmp_path / "overtone.db").write_bytes(content)
    with pytest.raises(
        OvertoneError, match=r"a database that was at this URL before\. Restore that one from a backup"
    ):
        Store(store.url, store.artifacts.root)
    assert store.artifacts_of(row).folder.is_dir()


@pytest.mark.sqlite
def test_a_damaged_database_is_said_in_a_sentence(store: Store, tmp_path: Path) -> None:
    store.close()
    (tmp_path / "overtone.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(OvertoneError, match=r"cannot be opened\. The database is damaged"):
        Store(store.url, store.artifacts.root)


def test_both_are_bound_anew_on_purpose(store: Store, tmp_path: Path) -> None:
    row = add_model(store, "a")
    (tmp_path / "other").mkdir()
    with closing(new_store(tmp_path / "other")) as other:
        url = other.url
    bind(url, store.artifacts.root)
    with closing(Store(url, store.artifacts.root)) as moved:
        moved.sweep_folders()
    assert [each.name for each in folders.list_set_aside(store.artifacts)] == [store.artifacts_of(row).name]
    with pytest.raises(OvertoneError, match="belongs to"):
        Store(store.url, store.artifacts.root)


def test_an_old_pair_that_belongs_together_is_bound_without_a_word(store: Store) -> None:
    row = add_model(store, "a")
    forget_identity(store)
    with closing(Store(store.url, store.artifacts.root)) as again:
        assert again.artifacts_of(row).folder.is_dir()
    assert folders.load_identity(store.artifacts) is not None


def test_an_old_folder_with_a_foreign_database_is_refused(store: Store, tmp_path: Path) -> None:
    forget_identity(store)
    store.artifacts.create("a.0123")
    with pytest.raises(OvertoneError, match="holds files of tuned models"):
        Store(store.url, store.artifacts.root)


def test_who_was_killed_while_the_two_were_bound_is_bound_at_the_next_start(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(text("DELETE FROM meta WHERE key = 'identity'"))
    with closing(Store(store.url, store.artifacts.root)) as again:
        assert again.list_tuned_models(Question(Grantee("")), 0, 9) == []


@pytest.mark.sqlite
def test_a_backup_of_the_database_and_of_the_files_is_all_that_another_machine_needs(
    store: Store, tmp_path: Path
) -> None:
    row = add_model(store, "a")
    store.close()
    shutil.copytree(store.artifacts.root, tmp_path / "restored" / "tuned")
    shutil.copy(tmp_path / "overtone.db", tmp_path / "restored" / "overtone.db")
    url = f"sqlite:///{tmp_path}/restored/overtone.db"
    with closing(Store(url, tmp_path / "restored" / "tuned")) as restored:
        assert restored.artifacts_of(row).folder.is_dir()


def test_what_is_to_be_typed_names_the_folder(store: Store, tmp_path: Path) -> None:
    with pytest.raises(OvertoneError, match=f"overtone bind --data {tmp_path}/elsewhere$"):
        Store(store.url, tmp_path / "elsewhere" / "tuned")


def test_a_password_is_never_shown() -> None:
    with pytest.raises(OvertoneError) as caught:
        Database("postgres+nosuch://me:hunter2@localhost/overtone")
    assert "hunter2" not in str(caught.value)


def forget_identity(store: Store) -> None:
    """Make database and folder what an earlier version left."""
    with store.writing() as connection:
        connection.execute(text("DELETE FROM meta WHERE key = 'identity'"))
    (store.artifacts.root / folders.IDENTITY_FILE).unlink()
