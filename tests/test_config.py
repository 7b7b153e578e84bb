"""Where a setting comes from, and how it reaches a child process."""

from __future__ import annotations

from pathlib import Path

import pytest

from overtone.config import Settings, unknown_variables


def test_a_flag_beats_a_variable_which_beats_the_default() -> None:
    environ = {"OVERTONE_PORT": "9000", "OVERTONE_HOST": "::1"}
    settings = Settings.load(environ, port=7000, base=None)
    assert (settings.port, settings.host, settings.base) == (7000, "::1", "smollm2-135m-instruct")


def test_a_child_gets_the_same_settings_through_its_environment() -> None:
    settings = Settings.load({}, data=Path("somewhere"), port=7, request_timeout_s=1.5, max_queue=3)
    assert Settings.load(settings.to_environ()) == settings
    assert settings.data.is_absolute()


def test_the_database_lies_in_the_data_folder_unless_a_url_says_otherwise() -> None:
    assert Settings.load({}, data=Path("/d")).database_url == "sqlite:////d/overtone.db"
    url = "postgresql+psycopg://db/overtone"
    assert Settings.load({"OVERTONE_DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("DEVICE", "gpu", "auto, cpu, cuda or cuda:1 and so on"),
        ("WEIGHTS", "int4", "auto, float32 or bfloat16"),
        ("PRECISION", "int4", "auto, float32 or bfloat16"),
    ],
)
def test_a_choice_that_there_is_not_is_refused(name: str, text: str, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"OVERTONE_{name} is '{text}'; it must be {allowed}"):
        Settings.load({f"OVERTONE_{name}": text})


def test_devices_are_named_as_pytorch_names_them() -> None:
    names = ("auto", "cpu", "cuda", "cuda:1")
    assert [Settings.load({"OVERTONE_DEVICE": name}).device for name in names] == list(names)


def test_a_malformed_variable_is_named() -> None:
    with pytest.raises(ValueError, match="OVERTONE_PORT is 'http'; it must be int"):
        Settings.load({"OVERTONE_PORT": "http"})


def test_a_misspelt_variable_is_told_with_the_one_that_was_meant() -> None:
    environ = {
        "OVERTONE_PORTS": "1",
        "OVERTONE_PORT": "2",
        "OVERTONE_URL": "u",
        "OVERTONE_TEST_X": "3",
        "HOME": "/",
    }
    assert unknown_variables(environ) == [
        "OVERTONE_PORTS is not a setting and has no effect. Did you mean OVERTONE_PORT?"
    ]
    assert "overtone settings" in unknown_variables({"OVERTONE_QQQQQQQQ": ""})[0]
