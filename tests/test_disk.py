"""What is kept is its user's alone, whatever the umask and whatever an earlier version left."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from overtone.disk import make_private
from overtone.errors import OvertoneError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_private_and_an_old_one_is_mended(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "a" / "new"
    old.mkdir(mode=0o755)
    for folder in (old, new):
        make_private(folder)
        assert mode(folder) == 0o700


def test_what_the_command_line_keeps_can_be_read_by_its_user_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    command = [
        sys.executable,
        "-m",
        "overtone",
        "keys",
        "create",
        "--user",
        "a@example.com",
        "--data",
        str(data),
    ]
    subprocess.run(command, check=True, capture_output=True, preexec_fn=lambda: os.umask(0o002))
    assert mode(data) == 0o700
    assert {mode(path) for path in data.iterdir() if path.is_file()} == {0o600}


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence() -> None:
    with pytest.raises(
        OvertoneError, match=r"/proc/nowhere cannot be created or written .*Choose another with --data"
    ):
        make_private(Path("/proc/nowhere"))
