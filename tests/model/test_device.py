"""Where PyTorch is asked for a GPU, and where it is clear without it that there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from overtone.model import device
from overtone.model.device import choose_device, may_have_gpu


@pytest.mark.parametrize(("file", "may"), [("nvidia0", True), ("kfd", True), ("dxg", True), ("null", False)])
def test_a_gpu_of_linux_is_a_file_of_its_driver(file: str, may: bool, tmp_path: Path) -> None:
    (tmp_path / file).touch()
    assert may_have_gpu("linux", tmp_path) is may


def test_other_systems_are_known_or_asked(tmp_path: Path) -> None:
    assert not may_have_gpu("darwin", tmp_path)
    assert may_have_gpu("win32", tmp_path)


@pytest.mark.parametrize(("num_gpus", "chosen"), [(0, "cpu"), (2, "cuda")])
def test_torch_decides_where_there_may_be_a_gpu(
    num_gpus: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "may_have_gpu", lambda: True)
    pretend_gpus(monkeypatch, num_gpus)
    assert choose_device("auto") == chosen


def test_a_gpu_is_named_as_torch_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 2)
    assert [choose_device(name) for name in ("cuda", "cuda:1")] == ["cuda", "cuda:1"]


def test_torch_is_not_asked_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "may_have_gpu", lambda: False)
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would fail
    assert [choose_device(name) for name in ("auto", "cpu")] == ["cpu", "cpu"]


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    cuda: Any = torch.cuda
    monkeypatch.setattr(cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(cuda, "device_count", lambda: count)
