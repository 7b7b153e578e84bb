"""AdamW (arXiv:1711.05101) over one flat tensor, with gradient clipping. On a processor a step is one compiled call."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from overtone.kernels.threads import shared_team


@dataclass(frozen=True)
class Adam:
    """The hyperparameters that stay the same in every step."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0  # gradients with a larger norm are scaled down to it


class Optimiser:
    """The moments of float32 parameters. A step changes the parameters and their gradients in place."""

    def __init__(self, parameters: Tensor, gradients: Tensor, adam: Adam):
        self._parameters = parameters
        self._gradients = gradients
        self._adam = adam
        self.first, self.second = torch.zeros_like(parameters), torch.zeros_like(parameters)

    def step(self, rate: float, number: int) -> float:
        """Take step `number`, counted from 1, and clear the gradients. Return their norm before clipping."""
        is_on_processor = self._parameters.device.type == "cpu"
        return self._compiled_step(rate, number) if is_on_processor else self._plain_step(rate, number)

    def _plain_step(self, rate: float, number: int) -> float:
        adam = self._adam
        p = self._parameters.detach()
        g = self._gradients
        norm = float(torch.linalg.vector_norm(g))
        if norm > adam.max_grad_norm:
            g.mul_(adam.max_grad_norm / norm)
        self.first.lerp_(g, 1 - adam.beta_1)
        self.second.mul_(adam.beta_2).addcmul_(g, g, value=1 - adam.beta_2)
        root = self.second.sqrt().div_(sqrt(1 - adam.beta_2**number)).add_(adam.eps)
        p.mul_(1 - rate * adam.weight_decay)
        p.addcdiv_(self.first, root, value=-rate / (1 - adam.beta_1**number))
        g.zero_()
        return norm

    def _compiled_step(self, rate: float, number: int) -> float:
        from overtone.kernels import adamw  # importing it compiles

        adam = self._adam
        size = self._parameters.numel()
        memory = np.empty(-(-size // adamw.CHUNK), np.float32), np.zeros((adamw.NUM_PHASES, 8), np.int64)
        update = adamw.Update(
            size=size,
            parameters=self._parameters.data_ptr(),
            gradients=self._gradients.data_ptr(),
            first=self.first.data_ptr(),
            second=self.second.data_ptr(),
            sums=memory[0].ctypes.data,
            counters=memory[1].ctypes.data,
            beta_1=adam.beta_1,
            beta_2=adam.beta_2,
            eps=adam.eps,
            longest=adam.max_grad_norm,
            keep=1 - rate * adam.weight_decay,
            rate=rate / (1 - adam.beta_1**number),
            root=1 / sqrt(1 - adam.beta_2**number),
        )
        tensors = self._parameters, self._gradients, self.first, self.second
        team = shared_team(torch.get_num_threads())
        norm: float = team.run(adamw.run_update, update, memory=(memory, tensors))
        return norm
