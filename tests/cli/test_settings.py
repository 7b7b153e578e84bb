"""The settings, and the page that tells of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from overtone.cli.settings import format_markdown, format_narrow, list_settings
from tests.cli.conftest import Run

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def test_the_page_has_the_table_that_the_settings_make() -> None:
    assert format_markdown(list(list_settings())) in PAGE.read_text(encoding="utf-8")


def test_every_setting_has_a_meaning() -> None:
    assert all(len(setting.meaning) > 10 for setting in list_settings())


def test_a_value_comes_from_its_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERTONE_PORT", "9")
    lines = run("settings").output.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("OVERTONE_PORT ")] == ["9"]


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2@host/name", "postgresql://host/name?user=me&password=hunter2"]
)
def test_a_password_is_not_shown(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERTONE_DATABASE_URL", url)
    shown = run("settings").output
    assert "hunter2" not in shown
    assert "host/name" in shown


def test_in_a_narrow_terminal_each_meaning_stands_whole_below_its_setting() -> None:
    for setting in list_settings():
        first, *meaning = format_narrow(setting, 80).splitlines()
        assert first == f"{setting.variable}={setting.value}"
        assert " ".join(line.strip() for line in meaning) == setting.meaning
        assert all(len(line) <= 80 for line in meaning)
