"""Chooses the device that a model's weights are on. PyTorch is asked only where there can be a GPU."""

from __future__ import annotations

import sys
from pathlib import Path

from overtone.errors import OvertoneError

GPU_FILES = ("nvidia*", "nvhost*", "nvmap", "kfd", "dxg")
"""What the drivers of GPUs put into /dev: NVIDIA's, those of its small boards, AMD's, and WSL's."""


class NoSuchDevice(OvertoneError):
    """A setting names a device that this machine does not have."""


def choose_device(name: str) -> str:
    """Return the device that a setting names, as PyTorch writes it. auto is the GPU if there is one, else cpu.

    Raises NoSuchDevice if there is no such GPU.
    """
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return "cpu"
    import torch  # takes two seconds, and 150 MB of memory

    # device_count may count unusable GPUs
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if num_gpus else "cpu"
    device = torch.device(name)
    if (device.index or 0) >= num_gpus:
        raise NoSuchDevice(
            f"OVERTONE_DEVICE is {name}, but PyTorch {torch.__version__} finds {num_gpus} CUDA devices; "
            "set it to auto or cpu, or install a PyTorch for your GPU."
        )
    return str(device)


def may_have_gpu(platform: str = sys.platform, devices: Path = Path("/dev")) -> bool:
    """Tell whether PyTorch could find a GPU that it computes on. On macOS the processor is used."""
    if platform == "darwin":
        return False
    return platform != "linux" or any(any(devices.glob(pattern)) for pattern in GPU_FILES)
