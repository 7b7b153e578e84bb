"""The REST door: Google's HTTP/JSON form of every row in the table, as one Starlette app.

Knows paths, query parameters, bodies and the shape of errors; no rule of any method. Whatever goes wrong,
unknown paths included, comes out as {"error": {"code", "message", "status", "details"}}.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import Send

from overtone.config import Settings
from overtone.doors import credentials, dispatch, http_body
from overtone.doors.gemini import elsewhere, path_templates, reference
from overtone.doors.gemini.errors import Told, tell
from overtone.doors.gemini.json_body import fields_of, to_message, unknown_parameter
from overtone.doors.gemini.json_reply import from_message
from overtone.doors.gemini.json_text import dump, parse
from overtone.doors.gemini.messages import Message, descriptor_of
from overtone.doors.gemini.rpcs import RPCS
from overtone.doors.http_errors import HTTP_STATUS, error_value
from overtone.doors.method import Method
from overtone.errors import ApiError, Code, NotFound, shown

T = TypeVar("T")
JSON_TYPE = "application/json; charset=UTF-8"
STANDARD_PARAMETERS = {
    "alt", "key", "access_token", "oauth_token", "prettyPrint", "fields", "quotaUser", "userIp", "callback",
    "uploadType", "upload_protocol",
}  # fmt: skip
RETRY_AFTER_S = "1"  # a queue moves on in less
GLUED_KEY = "?key="  # the published tutorial's second page has its key inside page_token


def build(
    servicers: Mapping[str, object],
    authenticate: dispatch.Authenticate,
    settings: Settings,
    lifespan: Any = None,
    routes: Sequence[BaseRoute] = (),
    rpcs: Sequence[Method] = RPCS,
) -> Starlette:
    """Return the app.

    `servicers` holds one object for each service named in the table; `routes` come before it.
    """
    mounted: dict[str, list[BaseRoute]] = {}
    for rpc in rpcs:
        endpoint = _Endpoint(rpc, servicers, authenticate, settings)
        for path in rpc.family.paths:
            mounted.setdefault(path, []).extend(_routes(endpoint))
    app = Starlette(
        routes=[
            *routes,
            *reference.routes(servicers, rpcs),
            *(
                Mount(f"/{path}", app=Router(routes=routes, redirect_slashes=False))
                for path, routes in mounted.items()
            ),
        ],
        exception_handlers={HTTPException: _no_such_method, ApiError: _refused},
        middleware=_middleware(settings),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


def _middleware(settings: Settings) -> list[Middleware]:
    """Let the pages of named origins call from a browser; without names, browsers keep all others out."""
    overriding = Middleware(http_body.MethodOverride)
    if not settings.allowed_origins:
        return [overriding]
    options: dict[str, Any] = {
        "allow_origins": settings.allowed_origins,
        "allow_methods": ["GET", "POST", "PATCH", "DELETE", "OPTIONS"],
        "allow_headers": ["*"],  # as asked: the origin is the protection, and clients add headers every year
        "allow_private_network": True,  # a page out there, the service at home: it was named all the same
    }
    return [Middleware(CORSMiddleware, **options), overriding]


class _Endpoint:
    """One row of the table as a function from an HTTP request to an HTTP response."""

    def __init__(
        self,
        rpc: Method,
        servicers: Mapping[str, object],
        authenticate: dispatch.Authenticate,
        settings: Settings,
    ):
        self.rpc = rpc
        self.method = dispatch.method_of(rpc, servicers)
        self.authenticate = authenticate
        self.max_body_bytes = settings.max_body_mb * 2**20

    async def answer(self, request: Request, template: str) -> Response:
        pretty = request.query_params.get("prettyPrint") != "false"
        try:
            return await self.call(request, template, pretty)
        except Exception as error:
            return error_response(error, pretty, as_array=self._streams_array(request))

    def _streams_array(self, request: Request) -> bool:
        """Tell whether the client reads an array: its errors are in one, too. google-generativeai, which says $alt,
        wants the object.
        """
        return (
            self.rpc.streams
            and request.query_params.get("alt") != "sse"
            and "$alt" not in request.query_params
        )

    async def call(self, request: Request, template: str, pretty: bool) -> Response:
        query, key = _read_query(request)
        presented = credentials.from_headers(request.headers, key)
        caller = await asyncio.to_thread(self.authenticate, presented)  # before a stranger's body is kept
        body = await http_body.read(request, self.max_body_bytes)
        bound = path_templates.bind(template, request.path_params)
        reply = await asyncio.to_thread(self.begin, caller, body, query, bound)
        if self.rpc.streams:
            return await _stream(request, reply, pretty)
        if callable(reply):
            reply = await _while_connected(request, reply())
        return json_response(from_message(reply), pretty)

    def begin(self, caller: Any, body: bytes, query: Mapping[str, str], bound: Mapping[str, str]) -> Any:
        """Return the method's answer, or what the event loop is to go on with (doors.dispatch)."""
        return self.method(read_request(self.rpc, body, query, bound), caller)


def read_request(rpc: Method, body: bytes, query: Mapping[str, str], bound: Mapping[str, str]) -> Message:
    """Return the request message that body, query and path say together; the path has the last word."""
    if rpc.instead:
        return rpc.request()
    fields = fields_of(descriptor_of(rpc.request))
    value: Any = parse(body) if rpc.body else {}
    model = "" if rpc.measures else bound.get("model", "this model")
    if rpc.body == "*" and not isinstance(value, dict):
        return to_message(value, rpc.request, model)
    if rpc.body not in ("", "*"):
        value = {rpc.body: value}
    for name, text in query.items():
        if name not in fields:
            raise unknown_parameter(name)
        value[fields[name].name] = text
    for path, text in bound.items():
        _set(value, path.split("."), text)
    return to_message(value, rpc.request, model)


def json_response(value: Any, pretty: bool, status: int = 200) -> Response:
    text = dump(value, pretty) + ("\n" if pretty else "")
    return Response(text.encode(), status, {"content-type": JSON_TYPE})


def error_response(error: BaseException, pretty: bool, as_array: bool = False) -> Response:
    told = tell(error)
    value = _error_value(told)
    response = json_response([value] if as_array else value, pretty, HTTP_STATUS[told.code])
    if isinstance(error, http_body.TooLarge):
        response.headers["connection"] = "close"  # what is left of the body is not read
    if told.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE):
        response.headers["retry-after"] = RETRY_AFTER_S
    return response


def _error_value(told: Told) -> dict[str, Any]:
    value = error_value(told.code, told.message)
    if told.details:
        value["error"]["details"] = list(told.details)
    return value


def _routes(endpoint: _Endpoint) -> list[Route]:
    rpc = endpoint.rpc
    return [
        Route(path_templates.to_path(template), _bound(endpoint, template), methods=[rpc.verb])
        for template in (*rpc.templates, *rpc.ours)
    ]


def _bound(endpoint: _Endpoint, template: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await endpoint.answer(request, template)

    return answer


def _read_query(request: Request) -> tuple[dict[str, str], str]:
    """Return the parameters that are fields of the request, and the key, wherever in the address it hid."""
    key, query = request.query_params.get("key", ""), {}
    for name, text in request.query_params.multi_items():
        if name in STANDARD_PARAMETERS or name.startswith("$"):
            continue
        if name in ("page_token", "pageToken") and GLUED_KEY in text:
            text, _, glued = text.partition(GLUED_KEY)
            key = key or glued
        query[name] = text
    return query, key


def _set(value: dict[str, Any], path: list[str], text: str) -> None:
    for part in path[:-1]:
        inner = value.get(part)
        if not isinstance(inner, dict):
            return  # the body is not an object: reading it will say so
        value = inner
    for spelling in {path[-1], path[-1].replace("_", "")}:
        value.pop(spelling, None)
    value[path[-1]] = text


async def _while_connected(request: Request, call: Awaitable[T]) -> T:
    """Await the call, but abandon it when the client goes away, so that nothing works for nobody."""
    work = asyncio.ensure_future(call)
    gone = asyncio.ensure_future(_disconnected(request))
    gone.add_done_callback(lambda _: work.cancel())
    try:
        return await work
    except asyncio.CancelledError:
        if not gone.done():
            raise
        raise ApiError("The client closed the request.", code=Code.CANCELLED) from None
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Stream(StreamingResponse):
    """A response that ends what feeds it when the client goes away, wherever the two are just then."""

    def __init__(self, frames: AsyncGenerator[str], content_type: str):
        super().__init__(frames, headers={"content-type": content_type})
        self.frames = frames

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self.frames):
            await super().stream_response(send)


async def _stream(request: Request, replies: AsyncIterator[Message], pretty: bool) -> Response:
    """Answer with a stream of messages. What fails before the first of them is an ordinary error."""
    first = await _while_connected(request, anext(replies, None))
    if request.query_params.get("alt") == "sse":
        return _Stream(_events(first, replies), "text/event-stream")
    return _Stream(_array(first, replies, pretty), JSON_TYPE)


async def _values(first: Message | None, replies: Any) -> AsyncGenerator[dict[str, Any]]:
    """Yield each reply's JSON value; an error on the way becomes the last one."""
    async with aclosing(replies):
        try:
            if first is not None:
                yield from_message(first)
            async for reply in replies:
                yield from_message(reply)
        except Exception as error:
            yield _error_value(tell(error))


async def _events(first: Message | None, replies: Any) -> AsyncGenerator[str]:
    """Server-sent events: one line of JSON each, and nothing else; clients parse every line that they get."""
    async with aclosing(_values(first, replies)) as values:
        async for value in values:
            yield f"data: {dump(value, pretty=False)}\r\n\r\n"


async def _array(first: Message | None, replies: Any, pretty: bool) -> AsyncGenerator[str]:
    """A JSON array, sent piece by piece. Its first byte is the bracket that clients wait for.

    Nothing may follow its last one: google-generativeai takes a newline there for a second array.
    """
    opening = "["
    async with aclosing(_values(first, replies)) as values:
        async for value in values:
            yield opening + dump(value, pretty)
            opening = ",\n"
    yield "]" if opening != "[" else "[]"


async def _refused(request: Request, error: Exception) -> Response:
    return error_response(error, pretty=True)


async def _no_such_method(request: Request, error: Exception) -> Response:
    """Answer a path or a verb that no row has as Google does: 404, whichever of the two it was."""
    path = request.url.path
    sentence = elsewhere.find(path) or (
        f"Method not found: {request.method} {shown(path)} is not part of this API; /reference has what is."
    )
    return error_response(NotFound(sentence), pretty=True)
