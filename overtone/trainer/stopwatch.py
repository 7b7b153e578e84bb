"""What a job took, so that the next one can be estimated: told only of jobs that had the trainer for themselves."""

from __future__ import annotations

import logging
import resource
import sys
import time
from pathlib import Path

import torch

from overtone.dataset.estimate import SpeedRecord
from overtone.processor_name import processor_name
from overtone.store.speeds import add_speed
from overtone.train.tuning import Tuning

log = logging.getLogger(__name__)


class Stopwatch:
    """The time of one attempt of a job, from its first step on."""

    def __init__(self, first_step: int):
        self._first_step = first_step
        self._began_at = time.monotonic()
        self._was_alone = True

    def note_company(self, num_jobs: int) -> None:
        """Note how many jobs the trainer has: a pass that others share says nothing about one alone."""
        self._was_alone = self._was_alone and num_jobs == 1

    def read(
        self, base_id: str, precision: str, device: torch.device, tuning: Tuning, template_tokens: int
    ) -> SpeedRecord | None:
        """Return the record of a tuning that has just done its last step, None if it had company or no step."""
        seconds = time.monotonic() - self._began_at
        num_steps = tuning.step - self._first_step
        if not self._was_alone or num_steps < 1:
            return None
        num_examples = tuning.order.places(tuning.step - 1).stop - tuning.order.places(self._first_step).start
        num_tokens = max(1, tuning.tokens_taken - num_examples * template_tokens)
        return SpeedRecord(
            base_id=base_id,
            processor=processor_name(),
            device=_describe(device),
            precision=precision,
            num_steps=num_steps,
            num_tokens=num_tokens,
            seconds=seconds,
            peak_bytes=_peak_bytes(device),
        )


def keep(data: Path, record: SpeedRecord) -> None:
    """Append a record to those of the data folder. A full disk costs the next estimate, nothing else."""
    try:
        add_speed(data, record)
    except OSError as error:
        log.warning("The job's speed is not kept: %s", error)


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    num_threads = torch.get_num_threads()
    return f"{num_threads} thread{'s' * (num_threads != 1)}"


def _peak_bytes(device: torch.device) -> int:
    """Return the most memory that this process had, of the GPU if it computes there."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
