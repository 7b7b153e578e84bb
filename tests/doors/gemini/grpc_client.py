"""The REST scenarios over gRPC: a client that looks like an HTTP one and calls the gRPC door.

What a request's path, query and body mean is read with the REST door's own reader; then the message goes
over a real connection, and what comes back is shown as REST would show it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import grpc
from google.protobuf import json_format
from google.rpc import status_pb2

from overtone.doors import dispatch
from overtone.doors.gemini import grpc_door, path_templates, rest_door
from overtone.doors.gemini.errors import tell
from overtone.doors.gemini.json_reply import from_message
from overtone.doors.gemini.json_text import dump
from overtone.doors.gemini.messages import decoder_of, encode
from overtone.doors.gemini.rpcs import RPCS, Rpc
from overtone.doors.http_errors import HTTP_STATUS
from overtone.errors import ApiError, Code
from tests.patience import HANG_S


@dataclass
class Reply:
    """What the tests look at in an HTTP response."""

    value: Any
    status_code: int = 200
    text: str = field(init=False)

    def __post_init__(self) -> None:
        self.text = dump(self.value) + "\n"

    def json(self) -> Any:
        return self.value


class GrpcClient:
    """Calls a gRPC door that lives in a thread of its own."""

    def __init__(self, servicers: Mapping[str, object], authenticate: dispatch.Authenticate, settings: Any):
        self.loop = asyncio.new_event_loop()
        self.thread = Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server, port = self.run(grpc_door.start(servicers, authenticate, settings, port=0))
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)])

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(HANG_S)

    def close(self) -> None:
        self.channel.close()
        self.run(self.server.stop(None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def get(self, url: str, **options: Any) -> Reply:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Reply:
        return self.request("POST", url, **options)

    def patch(self, url: str, **options: Any) -> Reply:
        return self.request("PATCH", url, **options)

    def delete(self, url: str, **options: Any) -> Reply:
        return self.request("DELETE", url, **options)

    def request(
        self,
        verb: str,
        url: str,
        json: Any = None,
        content: str = "",
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        parts = urlsplit(url)
        query = {**dict(parse_qsl(parts.query)), **{k: str(v) for k, v in (params or {}).items()}}
        metadata = {name.lower(): value for name, value in (headers or {}).items()}
        if "key" in query:
            metadata["x-goog-api-key"] = query["key"]
        try:
            rpc, bound = _find(verb, unquote(parts.path))
            body = content.encode() if json is None else _dump(json)
            fields = {k: v for k, v in query.items() if k not in rest_door.STANDARD_PARAMETERS}
            message = rest_door.read_request(rpc, body, fields, bound)
        except ApiError as error:
            told = tell(error)
            return _refusal(told.code, told.message, list(told.details))
        return self.call(rpc, message, tuple(metadata.items()))

    def call(self, rpc: Rpc, message: Any, metadata: Any) -> Reply:
        path, codec = f"/{rpc.full_services[0]}/{rpc.method}", (encode, decoder_of(rpc.reply))
        try:
            if rpc.streams:
                replies = self.channel.unary_stream(path, *codec)(message, metadata=metadata)
                return Reply([from_message(reply) for reply in replies])
            return Reply(from_message(self.channel.unary_unary(path, *codec)(message, metadata=metadata)))
        except grpc.RpcError as error:
            return _refusal(Code.from_number(error.code().value[0]), error.details(), _details(error))


def _find(verb: str, path: str) -> tuple[Rpc, dict[str, str]]:
    for rpc in RPCS:
        for template in (*rpc.templates, *rpc.ours):
            pattern = re.sub(r"\{(\w+):id\}", r"(?P<\1>[^/:]+)", path_templates.to_path(template))
            found = re.fullmatch(f"/v[^/]+{pattern}", path)
            if found and rpc.verb == verb:
                return rpc, path_templates.bind(template, found.groupdict())
    raise AssertionError(f"no row for {verb} {path}")


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _details(error: Any) -> list[Any]:
    packed = dict(error.trailing_metadata()).get(grpc_door.STATUS_DETAILS, b"")
    status = status_pb2.Status.FromString(packed)
    return [json_format.MessageToDict(detail) for detail in status.details]


def _refusal(code: Code, message: str, details: list[Any]) -> Reply:
    shape: dict[str, Any] = {"code": HTTP_STATUS[code], "message": message, "status": code.name}
    return Reply({"error": {**shape, "details": details} if details else shape}, HTTP_STATUS[code])
