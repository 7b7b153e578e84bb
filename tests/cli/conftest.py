"""A stand-in for the service: answers what a test has told it to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from overtone.cli import cli
from overtone.errors import OvertoneError

Run = Callable[..., Result]


class FakeService:
    """`answers` maps "GET /v1beta/…" to (status, body), or to a list of them that are given in turn."""

    def __init__(self, url: str):
        self.url = url
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, str, Any]] = []

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        answer = self.answers.get(f"{method} {path}", (404, {"error": {"message": f"No {path} here."}}))
        return answer.pop(0) if isinstance(answer, list) else answer


@pytest.fixture
def service() -> Iterator[FakeService]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, body = fake.answer(self.command, self.path, json.loads(sent) if sent else None)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake = FakeService(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield fake
        server.shutdown()


@pytest.fixture
def run(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line against the stand-in; a failure is the error that `main` would print."""
    monkeypatch.setenv("OVERTONE_URL", service.url)
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    return lambda *arguments, **options: CliRunner().invoke(cli, arguments, **options)


def said(result: Result) -> str:
    """Return the sentence with which a command failed."""
    assert isinstance(result.exception, OvertoneError), result.output
    return str(result.exception)
