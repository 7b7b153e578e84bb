"""Compiled kernels are run: they lie only where nobody else can put anything."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from overtone import kernels


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder whose parents are this user's alone, as far as the test can see to it."""
    tmp_path.chmod(0o700)
    return tmp_path


def test_a_folder_of_this_user_s_own_is_taken_and_made_private(home: Path) -> None:
    wanted = home / "a" / "b"
    assert kernels.choose_cache([wanted]) == wanted
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o775], ids=["everybody", "the group"])
def test_a_folder_under_one_that_others_can_write_is_not(home: Path, mode: int) -> None:
    shared = home / "shared"
    shared.mkdir()
    shared.chmod(mode)
    chosen = kernels.choose_cache([shared / "mine" / "cache", home / "second"])
    assert chosen == home / "second"


def test_a_folder_that_somebody_else_made_first_is_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = home / "overtone"
    planted.mkdir()
    stat_of = Path.stat

    def pretend_owner(path: Path, **options: bool) -> os.stat_result:
        found = stat_of(path, **options)
        return os.stat_result((*found[:4], 65534, *found[5:10])) if path == planted else found

    monkeypatch.setattr(Path, "stat", pretend_owner)
    assert kernels.choose_cache([planted / "cache", home / "second"]) == home / "second"


def test_without_any_the_kernels_go_where_nobody_can_foresee(home: Path) -> None:
    chosen = kernels.choose_cache([])
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
    assert chosen != kernels.choose_cache([])
