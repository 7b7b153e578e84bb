"""The demo, as a visitor runs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from overtone.config import DEFAULT_BASE
from tests import real
from tests.acceptance import processes

pytestmark = pytest.mark.slow

SCORE = re.compile(r"(\d) of 8")  # first the tuned model's, then the base's


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "bases").symlink_to(real.bases_folder())
    return tmp_path


def test_the_demo_sorts_messages_that_it_was_not_trained_on(data: Path) -> None:
    demo = processes.run("demo", "--data", data)
    assert demo.returncode == 0, demo.stderr
    assert "step 60 of 60" in demo.stdout
    assert "is ACTIVE after" in demo.stdout
    num_right, num_base_right = map(int, SCORE.findall(demo.stdout))
    assert num_right >= 6 and num_base_right == 0, demo.stdout
    assert demo.stdout.count(" ✓ ") == num_right
    assert "Deleted; 0 left." in demo.stdout
    assert [path.name for path in data.iterdir()] == ["bases"]  # of all that it made, nothing stays


def test_the_tutorial_is_there_too_and_lxiii_becomes_lxiv(data: Path) -> None:
    demo = processes.run("demo", "--tutorial", "--data", data)
    assert demo.returncode == 0, demo.stderr
    assert "step 38 of 38" in demo.stdout
    row = next(line for line in demo.stdout.splitlines() if line.startswith("│ LXIII"))
    assert "LXIV ✓" in row


def test_a_demo_that_fails_says_why_and_fails(tmp_path: Path) -> None:
    (tmp_path / "bases" / DEFAULT_BASE).mkdir(parents=True)
    (tmp_path / "bases" / DEFAULT_BASE / "card.json").write_text("{")
    demo = processes.run("demo", "--data", tmp_path)
    assert demo.returncode == 1
    assert "card.json is damaged" in demo.stderr and "Traceback" not in demo.stderr
