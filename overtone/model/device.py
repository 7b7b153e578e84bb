"""Where a model's tensors live."""

from __future__ import annotations

import torch


def choose_device(name: str) -> torch.device:
    """Return the device that a setting names; auto takes the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
