"""What the API costs: lists and gets among many tuned models, and a generateContent call outside the engine.

    python -m bench.api [--models 10000] [--calls 300]

The API runs as it is served (uvicorn, a process of its own, SQLite in a temporary folder, the tokenizer of
a tiny base), its client speaks plain HTTP over one connection, and the engine is a gRPC server that answers
at once, so that all the time measured is the API's. Medians, in milliseconds; the last line is one line of
JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from overtone.config import Settings

OWNER = "owner@localhost"
PAGE = 50
FILTERS = ("", "owner:me", "writers:me", "readers:me", "readers:everyone", "number", "owner:me 123")
BATCH = 1000


def fill(settings: Settings, num_models: int) -> None:
    """Put tuned models into a new database, every tenth shared with everyone, each with some snapshots."""
    from sqlalchemy import insert

    from overtone.store.store import Store
    from overtone.store.tables import jobs, permissions, snapshots, tuned_models

    store = Store(settings.database_url, settings.tuned)
    now = datetime.now(UTC)
    for start in range(1, num_models + 1, BATCH):
        uids = range(start, min(start + BATCH, num_models + 1))
        with store.writing() as connection:
            connection.execute(insert(tuned_models), [_model(uid, now) for uid in uids])
            connection.execute(insert(jobs), [_job(uid, now) for uid in uids])
            connection.execute(
                insert(snapshots), [_snapshot(uid, step, now) for uid in uids for step in range(1, 39)]
            )
            connection.execute(insert(permissions), [_permission(uid, "USER", "OWNER") for uid in uids])
            shared = [_permission(uid, "EVERYONE", "READER") for uid in uids if uid % 10 == 0]
            if shared:
                connection.execute(insert(permissions), shared)
    store.close()


def serve_api(settings: Settings, listener: socket.socket) -> None:
    from overtone.app import run_api

    run_api(settings, listener, threading.Event())


def serve_engine(address: str) -> None:
    """Answer every call with one token, at once."""
    import grpc

    from overtone.engine import protocol
    from overtone.engine.protocol import GenerateEvent, GenerateRequest

    async def generate(request: GenerateRequest, context: Any) -> Any:
        yield GenerateEvent(text="LXIV", finish_reason="STOP", candidate_tokens=1)

    async def run() -> None:
        server = grpc.aio.server()
        handler = grpc.unary_stream_rpc_method_handler(
            generate, GenerateRequest.deserialize, GenerateEvent.serialize
        )
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(protocol.SERVICE, {"Generate": handler})]
        )
        server.add_insecure_port(address)
        await server.start()
        await server.wait_for_termination()

    asyncio.run(run())


class Measured(NamedTuple):
    """Milliseconds."""

    waited: float
    processor: float


class Client:
    """One connection, kept open."""

    def __init__(self, port: int, server_pid: int):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.server_pid = server_pid

    def call(self, method: str, path: str, body: Any = None) -> tuple[float, Any]:
        """Return how many milliseconds a call took, and its answer."""
        content = None if body is None else json.dumps(body)
        start = time.perf_counter()
        self.connection.request(method, path, content, {"content-type": "application/json"})
        reply = self.connection.getresponse()
        text = reply.read()
        took_ms = 1000 * (time.perf_counter() - start)
        assert reply.status == 200, text
        return took_ms, json.loads(text)

    def measure(self, calls: int, method: str, path: str, body: Any = None) -> Measured:
        before = processor_s(self.server_pid)
        waited = statistics.median(self.call(method, path, body)[0] for _ in range(calls))
        spent = 1000 * (processor_s(self.server_pid) - before) / calls
        return Measured(round(waited, 2), round(spent, 2))


def processor_s(pid: int) -> float:
    """Return how much processor time a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(client: Client, num_models: int, calls: int) -> dict[str, Measured]:
    results: dict[str, Measured] = {}
    for text in FILTERS:
        path = f"/v1beta/tunedModels?pageSize={PAGE}&filter={text.replace(' ', '%20')}"
        results[f"list {text or 'all'}"] = client.measure(calls, "GET", path)
    results["list, last page"] = client.measure(calls, "GET", last_page(client))
    results["get"] = client.measure(calls, "GET", f"/v1beta/tunedModels/m{num_models // 2}")
    ask = {"contents": [{"parts": [{"text": "LXIII"}]}]}
    base = "/v1beta/models/gemini-1.5-flash-001-tuning:generateContent"
    results["generateContent, base"] = client.measure(calls, "POST", base, ask)
    tuned = f"/v1beta/tunedModels/m{num_models // 2}:generateContent"
    results["generateContent, tuned"] = client.measure(calls, "POST", tuned, ask)
    return results


def last_page(client: Client) -> str:
    """Return the path of the last page, found by walking through all of them."""
    path, token = "", ""
    while token is not None:
        path = f"/v1beta/tunedModels?pageSize={PAGE}&pageToken={token}"
        token = client.call("GET", path)[1].get("nextPageToken")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = run(Path(folder), options.models, options.calls)
    for name, took in results.items():
        print(f"{name:28} waited {took.waited:8.2f} ms   processor {took.processor:8.2f} ms")
    ms = {name: took._asdict() for name, took in results.items()}
    print(json.dumps({"bench": "api", "models": options.models, "cores": os.cpu_count(), "ms": ms}))


def run(folder: Path, num_models: int, calls: int) -> dict[str, Measured]:
    from overtone.engine.protocol import engine_address
    from tests.tiny import make_base

    settings = Settings(data=folder, grpc_port=-1)
    make_base(settings.bases)
    settings.run.mkdir()
    fill(settings, num_models)
    listener = socket.create_server(("127.0.0.1", 0))
    context = multiprocessing.get_context("spawn")
    servers = [
        context.Process(target=serve_engine, args=(engine_address(settings, settings.base),), daemon=True),
        context.Process(target=serve_api, args=(settings, listener), daemon=True),
    ]
    for server in servers:
        server.start()
    try:
        client = Client(listener.getsockname()[1], servers[1].pid or 0)
        client.call("GET", "/v1/models")
        results = measure(client, num_models, calls)
    finally:
        for server in servers:
            server.terminate()
            server.join()
    return results


def _model(uid: int, now: datetime) -> dict[str, Any]:
    return {
        "uid": uid,
        "id": f"m{uid}",
        "display_name": f"number generator {uid}",
        "description": "Counts.",
        "search_text": f"number generator {uid}\ncounts.",
        "base_model": "gemini-1.5-flash-001-tuning",
        "base_id": "smollm2-135m-instruct",
        "base_revision": "",
        "temperature": 1.0,
        "top_p": 0.95,
        "top_k": 64,
        "reader_project_numbers": [],
        "state": "ACTIVE",
        "create_time": now,
        "update_time": now,
        "adapter_digest": "0" * 64,
    }


def _job(uid: int, now: datetime) -> dict[str, Any]:
    return {
        "operation_id": f"{uid:012x}",
        "tuned_model_uid": uid,
        "base_id": "smollm2-135m-instruct",
        "state": "SUCCEEDED",
        "epoch_count": 5,
        "batch_size": 2,
        "learning_rate": 0.001,
        "num_examples": 15,
        "num_tokens": 600,
        "total_steps": 38,
        "completed_steps": 38,
        "seed": 0,
        "continues": False,
        "attempt": 1,
        "crashes": 0,
        "cancel_requested": False,
        "created_at": now,
        "started_at": now,
        "completed_at": now,
    }


def _snapshot(uid: int, step: int, now: datetime) -> dict[str, Any]:
    epoch = step * 2 // 15
    return {
        "operation_id": f"{uid:012x}",
        "step": step,
        "epoch": epoch,
        "mean_loss": 1 / step,
        "computed_at": now,
    }


def _permission(uid: int, grantee_type: str, role: str) -> dict[str, Any]:
    return {
        "tuned_model_uid": uid,
        "id": "everyone" if grantee_type == "EVERYONE" else f"{uid:012x}",
        "grantee_type": grantee_type,
        "email_address": OWNER if grantee_type == "USER" else "",
        "role": role,
    }


if __name__ == "__main__":
    main()
