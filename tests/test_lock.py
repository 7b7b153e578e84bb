"""One service on one data folder, and a note that says where it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from overtone.errors import OvertoneError
from overtone.lock import Note, hold


def test_a_data_folder_has_one_service(tmp_path: Path) -> None:
    with hold(tmp_path / "run"):
        Note(os.getpid(), "http://127.0.0.1:8080").save(tmp_path / "run")
        with (
            pytest.raises(
                OvertoneError, match=rf"process {os.getpid()} at http://127.0.0.1:8080\. Stop that"
            ),
            hold(tmp_path / "run"),
        ):
            pytest.fail("it was held twice")


def test_a_service_that_was_killed_does_not_lock_the_next_one_out(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "serve.json").write_text(json.dumps({"pid": 1, "url": "http://gone"}))
    (tmp_path / "run" / "serve.lock").touch()
    with hold(tmp_path / "run"):
        assert not (tmp_path / "run" / "serve.json").exists()
