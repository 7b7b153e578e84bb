"""The command lines of README.md, pasted one after the other."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import tiny
from tests.acceptance import processes
from tests.patience import HANG_S
from tests.serving import running_service

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"^\$ \.venv/bin/overtone (.*)$", re.MULTILINE)


def test_each_command_line_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.make_base(tmp_path / "data" / "bases")
    lines = [shlex.split(line, comments=True) for line in LINE.findall((ROOT / "README.md").read_text())]
    assert [line[0] for line in lines] == ["serve", "check", "tune", "watch", "generate", "list"]
    with running_service(tmp_path / "data") as service:
        monkeypatch.setenv("OVERTONE_URL", service.url)
        for line in lines[1:]:
            done = subprocess.run(
                processes.command(*line), cwd=ROOT, capture_output=True, text=True, timeout=HANG_S
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"
