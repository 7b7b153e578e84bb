"""A contestant in a process of its own, which obeys lines of JSON: an order in, an answer out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


class Worker:
    """A process that says {} when it is ready, then answers each line of JSON with another."""

    def __init__(self, *command: str | Path):
        self._command = [*map(str, command)]
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._read()

    def ask(self, **order: Any) -> dict[str, Any]:
        """Return the answer to an order. Raises SystemExit when the process has ended instead."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Say that there are no more orders, and wait for the process to end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self._command)} ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
