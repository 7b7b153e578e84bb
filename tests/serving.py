"""A whole service as its users start it: `overtone serve` in processes of its own, on a free port."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


@dataclass
class Service:
    """A running service. `certificate` is what its clients must trust, where it speaks TLS."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path
    certificate: Path | None = None

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


@contextmanager
def running_service(data: Path, *flags: str) -> Iterator[Service]:
    """Start `overtone serve` on a data folder and stop it in order; its log lies beside the folder."""
    log = data.with_suffix(".log")
    command = [sys.executable, "-m", "overtone", "serve", "--port", "0", "--data", str(data), *flags]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield Service(_wait_for_url(data, process, log), data, process, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _wait_for_url(data: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address that the service notes in its data folder once it is ready."""
    note, deadline = data / "run" / "serve.json", time.monotonic() + READY_TIMEOUT_S
    while not note.exists():
        assert process.poll() is None, f"the service ended:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the service is not ready:\n{log.read_text()}"
        time.sleep(0.05)
    return str(json.loads(note.read_text())["url"])
