"""The demo, as a visitor runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from overtone.config import DEFAULT_BASE
from tests import real
from tests.acceptance import processes

pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "bases").symlink_to(real.bases_folder())
    return tmp_path


def test_the_demo_tunes_a_model_and_lxiii_becomes_lxiv(data: Path) -> None:
    demo = processes.run("demo", "--data", data)
    assert demo.returncode == 0, demo.stderr
    assert "step 38 of 38" in demo.stdout
    assert "is ACTIVE after" in demo.stdout
    row = next(line for line in demo.stdout.splitlines() if line.startswith("│ LXIII"))
    assert "LXIV ✓" in row
    assert "Deleted; 0 left." in demo.stdout
    assert [path.name for path in data.iterdir()] == ["bases"]  # of all that it made, nothing stays


def test_a_demo_that_fails_says_why_and_fails(tmp_path: Path) -> None:
    (tmp_path / "bases" / DEFAULT_BASE).mkdir(parents=True)
    (tmp_path / "bases" / DEFAULT_BASE / "card.json").write_text("{")
    demo = processes.run("demo", "--data", tmp_path)
    assert demo.returncode == 1
    assert "card.json is damaged" in demo.stderr and "Traceback" not in demo.stderr
