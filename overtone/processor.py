"""The processor at hand: its name, and those of its features by which the ways of computing are chosen."""

from __future__ import annotations

import os
from functools import cache

from llvmlite import binding

from overtone.processor_name import processor_name

NAMED = (
    "fma", "avx2", "avx512f", "avx512vnni", "avx512bf16", "amx-int8", "amx-bf16", "neon", "dotprod", "bf16",
)  # fmt: skip
"""LLVM's names of what a figure of speed depends on."""


@cache
def features() -> frozenset[str]:
    """Return the features that this processor has, by LLVM's names."""
    return frozenset(name for name, has in binding.get_host_cpu_features().items() if has)


def has_fused_multiply_add() -> bool:
    """Tell whether a product and a sum are one instruction with one rounding."""
    return not features().isdisjoint(("fma", "neon"))


def has_avx2() -> bool:
    return "avx2" in features()


def has_avx512_vnni() -> bool:
    """Tell whether 16-bit products are added to 32-bit sums in one instruction, in vectors of any size."""
    return features() >= {"avx512f", "avx512vl", "avx512vnni"}


def num_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS


def describe(num_threads: int) -> str:
    """Return the processor in one line: `AMD EPYC (fma, avx2, avx512f), 2 threads`."""
    named = ", ".join(name for name in NAMED if name in features()) or "no vector features"
    return f"{processor_name()} ({named}), {num_threads} thread{'s' * (num_threads != 1)}"
