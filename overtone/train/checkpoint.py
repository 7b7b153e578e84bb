"""Checkpoints: a tuning's progress on the disk. A damaged one is always detected.

A file is a safetensors image followed by the SHA-256 of the image. It is written under a temporary name and then
renamed; the newest two are kept. Loading takes the newest intact one. Reading needs nothing but this folder; a
checkpoint of another rank or model is refused by its size.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.torch

from overtone.disk import sync_file, sync_folder
from overtone.model.safetensors_file import Hashing, array_entry, write
from overtone.train.tuning import Progress

KEEP = 2
DIGEST_BYTES = 32
NAME = re.compile(r"step-(\d{8})\.checkpoint")
FORMAT = 1


def save_checkpoint(folder: Path, progress: Progress) -> Path:
    """Write and sync the progress; drop all but the newest two.

    Raises OSError if the disk is full, or if the job's folder was deleted with its model; it is not created again.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{progress.step:08d}.checkpoint"
    partial = path.with_suffix(".partial")
    try:
        _write(partial, progress)
        partial.rename(path)
        sync_folder(folder)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    for old in list_checkpoints(folder)[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path, num_parameters: int) -> Progress | None:
    """Return the newest intact progress of this size, or None. Damaged files are skipped."""
    for path in list_checkpoints(folder):
        progress = _read(path)
        if progress is not None and progress.parameters.numel() == num_parameters:
            return progress
    return None


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints' paths, newest first."""
    found = [path for path in folder.glob("step-*.checkpoint") if NAME.fullmatch(path.name)]
    return sorted(found, reverse=True)


class BackgroundSaver:
    """Writes checkpoints in the background, one at a time, so that a slow disk does not slow down training."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def save(self, progress: Progress, first: Callable[[], bool] = lambda: True) -> None:
        """Start writing this copy while training continues. Raises the error of the previous write.

        `first` is called in the background too. If it returns False, nothing is written.
        """
        self.wait()
        self._thread = threading.Thread(target=self._write, args=(progress, first), daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is being written. Raises OSError if the write failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, progress: Progress, first: Callable[[], bool]) -> None:
        try:
            if first():
                save_checkpoint(self._folder, progress)
        except OSError as error:
            self._error = error


def _write(path: Path, progress: Progress) -> None:
    state = {"format": FORMAT, "step": progress.step, "rate_factor": progress.rate_factor}
    tensors = {
        "parameters": progress.parameters,
        "first_moment": progress.first_moment,
        "second_moment": progress.second_moment,
    }
    entries = [
        array_entry(name, np.float32, tensor.shape, tensor.numpy)  # the library's copies all twice
        for name, tensor in tensors.items()
    ]
    with path.open("wb") as file:
        hashing = Hashing(file)
        write(hashing, entries, {"state": json.dumps(state)})
        file.write(hashing.hash.digest())
        sync_file(file)


def _read(path: Path) -> Progress | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    image, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(image).digest() != digest:
        return None
    header = json.loads(image[8 : 8 + int.from_bytes(image[:8], "little")])
    state = json.loads(header["__metadata__"]["state"])
    if state["format"] != FORMAT:
        return None
    return Progress(state["step"], state["rate_factor"], **safetensors.torch.load(image))
