"""Which build of PyTorch `make setup` installs, and what it says before."""

from __future__ import annotations

import sys

import pytest

from tools import install_torch

NOTHING: dict[str, str] = {}


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux machine without a GPU, a wheel or a way to PyTorch's index."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(install_torch, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(install_torch, "local_wheel", lambda wanted: None)
    monkeypatch.setattr(install_torch, "answers", lambda url: False)


def test_without_a_gpu_the_cpu_build_comes_from_pytorchs_index(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(install_torch, "answers", lambda url: not asked.append(url))
    arguments, build = install_torch.choose("2.13.0", NOTHING)
    assert arguments == ["--no-deps", "--index-url", install_torch.CPU_INDEX]
    assert asked == [f"{install_torch.CPU_INDEX}/torch/"]
    assert "CPU build" in build


def test_a_mirror_of_the_index_is_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_torch, "answers", lambda url: True)
    arguments, _ = install_torch.choose("2.13.0", {"TORCH_CPU_INDEX": "http://127.0.0.1:1/cpu"})
    assert arguments[-1] == "http://127.0.0.1:1/cpu"


def test_a_wheel_on_the_disk_goes_before_every_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_torch, "local_wheel", lambda wanted: "torch-2.13.0+cpu.whl")
    monkeypatch.setattr(install_torch, "answers", lambda url: pytest.fail("nobody need be asked"))
    assert install_torch.choose("2.13.0", NOTHING) == ([], "from torch-2.13.0+cpu.whl")


def test_a_gpu_gets_the_cuda_build_and_hears_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install_torch, "has_nvidia_gpu", lambda: True)
    arguments, build = install_torch.choose("2.13.0", NOTHING)
    assert arguments == []
    assert "5.5 GB on the disk, for this machine's GPU" in build


def test_where_there_is_no_other_way_the_size_is_said_and_how_to_avoid_it() -> None:
    arguments, build = install_torch.choose("2.13.0", NOTHING)
    assert arguments == []
    assert "5.5 GB" in build
    assert "PIP_FIND_LINKS" in build


def test_an_index_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert not install_torch.answers("http://127.0.0.1:9/cpu/torch/")
