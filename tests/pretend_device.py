"""A device that is none: its tensors compute on the processor but are of another device.

Whoever forgets to move a tensor fails on it as on a GPU; whoever does not computes what the processor
computes. So the code for GPUs is run where there is none. Autograd and inference mode see tensors of the
device `pretend` (PyTorch's place for devices of others, PrivateUse1), every operation on them comes to
`compute`, and that computes with what is inside. It is for a process of its own: autograd must hear of a
device before its first backward pass.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretend"
MOVES = {"aten::_to_copy", "aten::copy_"}  # the operations that may see two devices


class Backend(_DummyBackendModule):
    """What PyTorch asks a device's module, with what `torch.utils.checkpoint` asks besides."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float32]

    def is_autocast_enabled(self) -> bool:
        return False

    def get_autocast_dtype(self) -> torch.dtype:
        return torch.float32

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.empty(0)

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        pass

    def device(self, index: int) -> Any:
        return nullcontext()


class Pretended(torch.Tensor):
    """A tensor of the device, around one of the processor."""

    inside: torch.Tensor

    @staticmethod
    def __new__(cls, inside: torch.Tensor) -> Pretended:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inside.size(),
            strides=inside.stride(),
            storage_offset=inside.storage_offset(),
            dtype=inside.dtype,
            device=torch.device(NAME, 0),
        )
        made.inside = inside
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(operation, *args, **(kwargs or {}))

    def tolist(self) -> list[Any]:
        return self.inside.tolist()


def compute(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation on what is inside its tensors. Raises RuntimeError where devices are mixed."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    name = operation._schema.name
    strangers = [tensor for tensor in tensors if not isinstance(tensor, Pretended) and tensor.dim()]
    if strangers and name not in MOVES:
        raise RuntimeError(f"{name}: a tensor of the processor, {strangers[0].shape}, among the device's")
    to_processor = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
    if kwargs.get("device") is not None:
        kwargs["device"] = "cpu"
    result = operation(*tree_map(_look_inside, args), **tree_map(_look_inside, kwargs))
    given = {id(_look_inside(tensor)): tensor for tensor in tensors}

    def outside(value: Any) -> Any:
        if id(value) in given:  # it was changed in place
            return given[id(value)]
        return Pretended(value) if isinstance(value, torch.Tensor) else value

    return result if to_processor else tree_map(outside, result)


def _look_inside(value: Any) -> Any:
    return value.inside if isinstance(value, Pretended) else value


def pretend_from_now_on() -> None:
    """Make the device known to this process. `torch.tensor` makes its tensors on the processor and moves them."""
    _setup_privateuseone_for_python_backend(NAME, Backend())
    _kept.append(torch.library.Library("_", "IMPL"))  # type: ignore[no-untyped-call]
    _kept[0].fallback(compute, "PrivateUse1")
    make = torch.tensor

    def make_and_move(data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
        return make(data, **options) if device is None else make(data, **options).to(device)

    torch.tensor = make_and_move


_kept: list[Any] = []  # a library's registrations end with it
