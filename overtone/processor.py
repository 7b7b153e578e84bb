"""This machine's processor: its name, its cores, and the features that decide which kernels run."""

from __future__ import annotations

import os
import platform
from functools import cache

from llvmlite import binding

from overtone.processor_name import processor_name

NAMED = (
    "fma", "avx2", "avx512f", "avx512vnni", "avx512bf16", "amx-int8", "amx-bf16", "neon", "dotprod", "bf16",
)  # fmt: skip
"""LLVM's names of the features that speed depends on."""

ARM = ("arm64", "aarch64")  # the names that macOS and Linux give it


@cache
def features() -> frozenset[str]:
    """Return this processor's features by LLVM's names."""
    return frozenset(name for name, has in binding.get_host_cpu_features().items() if has)


def has_fused_multiply_add() -> bool:
    """Tell whether the processor multiplies and adds in one instruction with one rounding.

    Every 64-bit ARM processor does; LLVM lists no features at all for Apple's.
    """
    return platform.machine() in ARM or not features().isdisjoint(("fma", "neon"))


def has_avx2() -> bool:
    return "avx2" in features()


def has_avx512_vnni() -> bool:
    """Tell whether one instruction adds 16-bit products to 32-bit sums, in vectors of any size."""
    return features() >= {"avx512f", "avx512vl", "avx512vnni"}


def num_cores() -> int:
    """Return how many cores this process may use. macOS cannot restrict a process, so there it is all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe(num_threads: int) -> str:
    """Return the processor's description in one line: `AMD EPYC (fma, avx2, avx512f), 2 threads`."""
    named = ", ".join(name for name in NAMED if name in features()) or "no vector features"
    return f"{processor_name()} ({named}), {num_threads} thread{'s' * (num_threads != 1)}"
