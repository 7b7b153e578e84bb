"""Tuned models in the store."""

from __future__ import annotations

from contextlib import closing

import pytest

from overtone.domain.sharing import Grantee, Question
from overtone.errors import AlreadyExists, NotFound
from overtone.store.artifacts import Artifacts
from overtone.store.store import Store
from tests.store.rows import MOMENT, OWNER, add_model, job_values, model_values

ME = Grantee(OWNER)
ALL = Question(ME)


def test_what_was_created_is_found_again(store: Store) -> None:
    created = add_model(store, "a", display_name="A", temperature=0.5, reader_project_numbers=[7])
    assert store.get_tuned_model("a") == created
    assert (created.create_time, created.job_state, store.artifacts_of(created).name[:2]) == (
        MOMENT,
        "QUEUED",
        "a.",
    )


def test_its_owner_has_a_permission(store: Store) -> None:
    row = add_model(store, "a")
    assert store.permissions.roles_of(row.uid, ME) == {"OWNER"}
    assert store.permissions.roles_of(row.uid, Grantee("other@example.com")) == set()


def test_a_taken_id_is_refused_and_nothing_is_left(store: Store) -> None:
    kept = add_model(store, "a")
    with pytest.raises(AlreadyExists, match="Tuned model a already exists"):
        add_model(store, "a")
    assert store.artifacts.list_names() == [store.artifacts_of(kept).name]


def test_a_failure_while_the_folder_is_filled_leaves_nothing(store: Store) -> None:
    def fail(artifacts: Artifacts) -> None:
        artifacts.examples.touch()
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        store.create_tuned_model(model_values("a"), job_values(), OWNER, fail)
    assert store.find_tuned_model("a") is None
    assert store.artifacts.list_names() == []


def test_a_deleted_model_is_gone_with_its_folder(store: Store) -> None:
    row = add_model(store, "a")
    store.delete_tuned_model(row)
    assert not store.artifacts_of(row).folder.exists()
    with pytest.raises(NotFound, match="Tuned model a does not exist"):
        store.get_tuned_model("a")


def test_a_model_made_again_is_another_one(store: Store) -> None:
    first = add_model(store, "a")
    store.delete_tuned_model(first)
    second = add_model(store, "a")
    assert second.uid > first.uid
    assert store.artifacts_of(second) != store.artifacts_of(first)


def test_lists_are_oldest_first_and_go_on_after_a_row(store: Store) -> None:
    rows = [add_model(store, name) for name in "cab"]
    assert store.list_tuned_models(ALL, 0, 2) == rows[:2]
    assert store.list_tuned_models(ALL, rows[1].uid, 2) == rows[2:]


@pytest.mark.parametrize("word", ["straße", "STRASSE", "number gen", "100%"])
def test_free_text_is_found_whatever_its_case(store: Store, word: str) -> None:
    row = add_model(store, "a", display_name="Number generator", description="Straße 100% sure_")
    add_model(store, "b", display_name="100 other", description="nothing")
    assert store.list_tuned_models(Question(ME, words=(word,)), 0, 9) == [row]


def test_a_change_of_the_name_is_found_by_it(store: Store) -> None:
    row = store.update_tuned_model(add_model(store, "a").uid, {"display_name": "New"})
    assert store.list_tuned_models(Question(ME, words=("new",)), 0, 9) == [row]


def test_lists_by_role_show_only_those(store: Store) -> None:
    mine = add_model(store, "a")
    add_model(store, "b", owner="other@example.com")
    assert store.list_tuned_models(Question(ME, roles=(("OWNER",),)), 0, 9) == [mine]
    assert store.list_tuned_models(Question(ME, roles=(("READER",),)), 0, 9) == []
    assert store.list_tuned_models(Question(ME, roles=((),)), 0, 9) == []


def test_the_secret_is_the_same_for_all(store: Store) -> None:
    with closing(Store(store.url, store.artifacts.root)) as other:
        assert other.secret == store.secret
