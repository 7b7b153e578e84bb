"""Chooses the device that a model's tensors are on."""

from __future__ import annotations

import torch

from overtone.errors import OvertoneError


class NoSuchDevice(OvertoneError):
    """A setting names a device that this machine does not have."""


def choose_device(name: str) -> torch.device:
    """Return the device that a setting names. auto is the GPU if there is one, else the processor.

    Raises NoSuchDevice if there is no such GPU.
    """
    num_gpus = (
        torch.cuda.device_count() if torch.cuda.is_available() else 0
    )  # device_count may count unusable GPUs
    if name == "auto":
        name = "cuda" if num_gpus else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= num_gpus:
        raise NoSuchDevice(
            f"OVERTONE_DEVICE is {name}, but PyTorch {torch.__version__} finds {num_gpus} CUDA devices; "
            "set it to auto or cpu, or install a PyTorch for your GPU."
        )
    return device
