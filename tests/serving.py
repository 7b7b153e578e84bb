"""A whole service as its users start it: `overtone serve` in processes of its own, on a free port."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.patience import HANG_S, wait_until


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

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the REST door and wait for the answer, whatever it is."""
        verify = ssl.create_default_context(cafile=self.certificate) if self.certificate else True
        url = f"{self.url}/v1beta/{path}"
        return httpx.request(method, url, verify=verify, timeout=HANG_S, trust_env=False, **options)

    def get(self, path: str) -> Any:
        """Return what is there."""
        return self.request("GET", path).raise_for_status().json()

    def post(self, path: str, body: Any, **params: str) -> Any:
        """Send a body and return the answer."""
        return self.request("POST", path, json=body, params=params).raise_for_status().json()


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
            process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _wait_for_url(data: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address that the service notes in its data folder once it is ready."""
    note = data / "run" / "serve.json"
    wait_until(lambda: note.exists() or process.poll() is not None)
    assert process.poll() is None, f"the service ended:\n{log.read_text()}"
    return str(json.loads(note.read_text())["url"])
