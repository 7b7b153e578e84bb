"""Files that no tuned model owns: listed, and deleted only when that is said; whose folder it is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from overtone.errors import OvertoneError
from overtone.store.store import Store
from tests.cli.conftest import Run, said
from tests.store.rows import add_model


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a model of its own, and 1.5 MB that no model owns."""
    with closing(Store(f"sqlite:///{tmp_path}/overtone.db", tmp_path / "tuned")) as store:
        add_model(store, "known")
        store.artifacts.create("lost.0123").adapter.write_bytes(bytes(1_500_000))
        store.sweep_folders()
    return tmp_path


def folders_of(data: Path) -> list[str]:
    return sorted(path.name.partition(".")[0] for path in (data / "tuned").glob("[!.]*"))


def test_what_was_set_aside_is_listed(run: Run, data: Path) -> None:
    heading, line = run("set-aside", "list", "--data", str(data)).output.splitlines()
    assert heading.split() == ["FOLDER", "SIZE", "SINCE"] or heading.split() == ["folder", "size", "since"]
    assert line.split()[:3] == ["lost.0123", "1.5", "MB"]


def test_what_was_set_aside_is_deleted_when_that_is_said(run: Run, data: Path) -> None:
    assert "pass --yes" in said(run("set-aside", "empty", "--data", str(data)))
    assert (data / "tuned" / ".set-aside" / "lost.0123").exists()

    assert run("set-aside", "empty", "--yes", "--data", str(data)).output == "Deleted 1 folders.\n"

    assert not (data / "tuned" / ".set-aside").exists()
    assert folders_of(data) == ["known"]
    for verb in ("list", "empty"):
        assert run("set-aside", verb, "--data", str(data)).output == "Nothing was set aside.\n"


def test_a_folder_is_bound_to_another_database_when_that_is_said(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = data / "other"
    other.mkdir()
    url = f"sqlite:///{other}/overtone.db"
    with closing(Store(url, other / "tuned")):
        pass
    with pytest.raises(OvertoneError):
        Store(url, data / "tuned")
    monkeypatch.setenv("OVERTONE_DATABASE_URL", url)
    assert "pass --yes" in said(run("bind", "--data", str(data)))

    assert f"now belongs to {url}" in run("bind", "--yes", "--data", str(data)).output

    with closing(Store(url, data / "tuned")) as store:
        store.sweep_folders()
    assert folders_of(data) == []
    assert "known." in run("set-aside", "list", "--data", str(data)).output
