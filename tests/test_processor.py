"""What is known of the processor, here and on systems that tell less."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from overtone import processor


def test_only_cores_that_the_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    assert processor.num_cores() == 2


def test_without_affinity_as_on_macos_every_core_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert processor.num_cores() == 10


@pytest.mark.parametrize(("machine", "has"), [("arm64", True), ("aarch64", True), ("x86_64", False)])
def test_an_arm_processor_multiplies_and_adds_even_if_llvm_lists_no_features(
    machine: str, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "features", frozenset)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert processor.has_fused_multiply_add() == has


def test_the_description_names_processor_features_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "features", lambda: frozenset(("avx2", "fma", "sse2")))
    monkeypatch.setattr(processor, "processor_name", lambda: "AMD EPYC")
    assert processor.describe(1) == "AMD EPYC (fma, avx2), 1 thread"
    assert processor.describe(2).endswith("2 threads")


def test_on_windows_one_sentence_says_what_to_use_instead() -> None:
    program = "import sys; sys.platform = 'win32'; import overtone.cli"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("overtone: Windows is not supported.") and ended.stderr.count("\n") == 1
