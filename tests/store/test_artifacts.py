"""The files of tuned models: one name each, and members that are found by name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from overtone.store.artifacts import Artifacts, ArtifactStore


@pytest.fixture
def files(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "tuned")


def tuned(files: ArtifactStore, name: str = "parent.1") -> Artifacts:
    """Return the files of a model whose tuning has ended."""
    artifacts = files.create(name)
    artifacts.adapter.mkdir()
    (artifacts.adapter / "weights").write_text("tuned")
    return artifacts


def test_each_model_has_files_of_its_own(files: ArtifactStore) -> None:
    for name in ("b.1", "a.1", "a.2"):
        files.create(name).examples.write_text(name)
    files.delete("a.1")
    assert files.list_names() == ["a.2", "b.1"]
    assert files.open("a.2").examples.read_text() == "a.2"


def test_a_name_in_use_is_not_given_again(files: ArtifactStore) -> None:
    files.create("a.1")
    with pytest.raises(FileExistsError):
        files.create("a.1")


def test_a_child_begins_with_its_parent_s_adapter_and_outlives_it(files: ArtifactStore) -> None:
    parent = tuned(files)
    child = files.create("child.1")
    child.link_source(parent)
    assert (child.source / "weights").samefile(parent.adapter / "weights")
    files.delete(parent.name)
    assert (child.source / "weights").read_text() == "tuned"


def test_where_the_disk_knows_no_links_the_adapter_is_copied(
    files: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    parent = tuned(files)
    child = files.create("child.1")
    child.link_source(parent)
    assert not (child.source / "weights").samefile(parent.adapter / "weights")
    assert (child.source / "weights").read_text() == "tuned"


def test_a_parent_that_is_gone_is_said(files: ArtifactStore) -> None:
    with pytest.raises(FileNotFoundError):
        files.create("child.1").link_source(files.open("parent.1"))


def test_a_note_about_the_whole_is_no_model_s(files: ArtifactStore) -> None:
    files.write_note(".owner", "database")
    assert (files.read_note(".owner"), files.list_names()) == ("database", [])
