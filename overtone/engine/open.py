"""Chooses the runner for a base: the fastest that can serve it."""

from __future__ import annotations

from pathlib import Path

from overtone.bases.base_check import check_weights
from overtone.engine.runner import Runner
from overtone.kernels.compiled import compile_once
from overtone.model.device import choose_device


def open_runner(
    base_folder: Path, device: str, max_rows: int, num_threads: int = 0, weights: str = "auto"
) -> Runner:
    """Load a base with the fastest runner that can serve it. `max_rows` is the size of the largest step.

    `weights` is auto, float32 or bfloat16. auto means the base's own quant blocks, or 8 bits, where the compiled
    kernels support the model; else float32 on the processor and bfloat16 on a GPU. Raises OvertoneError for a base
    that does not match its config.json.
    """
    check_weights(base_folder)
    chosen = choose_device(device)
    if chosen == "cpu" and weights == "auto":
        compile_once()
        from overtone.engine import cpu_runner  # importing it compiles the kernels

        if cpu_runner.is_supported(base_folder):
            return cpu_runner.CpuRunner(base_folder, max_rows, num_threads=num_threads)
    from overtone.engine.torch_runner import TorchRunner  # takes two seconds, and 150 MB of memory

    plain = "float32" if chosen == "cpu" else "bfloat16"
    return TorchRunner(base_folder, chosen, dtype=plain if weights == "auto" else weights)
