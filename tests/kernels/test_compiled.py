"""Kernels are compiled by a process of their own, once."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import pytest

from overtone.kernels import compiled


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "kernels" / "digest"
    folder.mkdir(parents=True)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def runs(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was run instead of the compiler, which leaves a full cache behind."""
    commands: list[Any] = []

    def run(command: Any, **options: Any) -> Any:
        commands.append(command)
        compiled.note_complete(cache)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_an_empty_cache_is_filled_once_by_another_process(runs: list[Any]) -> None:
    compiled.compile_once()
    compiled.compile_once()
    assert [command[1:] for command in runs] == [["-m", "overtone.kernels"]]


def test_a_cache_of_another_processor_is_not_complete(
    cache: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled.note_complete(cache)
    assert compiled.is_complete(cache)
    monkeypatch.setattr("overtone.kernels.compiled.binding.get_host_cpu_name", lambda: "another")
    assert not compiled.is_complete(cache)


def test_a_cache_that_does_not_last_is_left_to_each_process(
    tmp_path: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "overtone-kernels-x"))
    compiled.compile_once()
    assert not runs


def test_a_compiler_that_fails_is_told_and_stops_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    compiled.compile_once()
    assert "compiled when they are used" in caplog.text
