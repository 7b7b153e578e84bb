"""What Google's front end does with every request: methods inside a POST, compressed bodies, and the limit."""

from __future__ import annotations

import zlib
from urllib.parse import quote

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from overtone.errors import InvalidArgument

OVERRIDES = ("PATCH", "DELETE", "PUT", "GET")
FORM = b"application/x-www-form-urlencoded"
MAX_FORM_BYTES = 1 << 20
HEADER = b"x-http-method-override"
READ_ON = 2  # times the limit: as far as a body that is too large is read, so that its sender hears why


class TooLarge(InvalidArgument):
    """The request's body is over the limit."""

    def __init__(self, max_bytes: int, num_bytes: int | None = None):
        this = f" This one has {num_bytes} bytes." if num_bytes else ""
        super().__init__(f"Request payload size exceeds the limit: {max_bytes} bytes.{this}")


async def read(request: Request, max_bytes: int) -> bytes:
    """Return the body, unpacked.

    What is over the limit is not kept, and is read to its end only when that is near. Raises TooLarge.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > READ_ON * max_bytes:
        raise TooLarge(max_bytes, int(declared))
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size <= max_bytes:
            pieces.append(piece)
        else:
            pieces.clear()
        if size > READ_ON * max_bytes:
            raise TooLarge(max_bytes)
    if size > max_bytes:
        raise TooLarge(max_bytes, size)
    return unpack(b"".join(pieces), request.headers.get("content-encoding", ""), max_bytes)


def unpack(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a body without its compression (gzip or deflate). Raises TooLarge as soon as it is, InvalidArgument."""
    if encoding.strip().lower() in ("", "identity"):
        return body
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise InvalidArgument(
            f"The content-encoding {encoding!r} is not supported; send gzip, deflate or none."
        )
    for window in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # gzip or zlib by its header; deflate without one
        try:
            return _inflate(body, window, max_bytes)
        except zlib.error:
            continue
    raise InvalidArgument(f"The body is not whole {encoding}, as its content-encoding says.")


def _inflate(body: bytes, window: int, max_bytes: int) -> bytes:
    """Return all members of a body unpacked: a gzip file may have several."""
    unpacked = bytearray()
    while body:
        inflater = zlib.decompressobj(window)
        unpacked += inflater.decompress(body, max_bytes + 1 - len(unpacked))
        if len(unpacked) > max_bytes:
            raise TooLarge(max_bytes)
        if not inflater.eof:
            raise zlib.error("the data end too early")
        body = inflater.unused_data
    return bytes(unpacked)


class MethodOverride:
    """Takes a POST for the method in its X-HTTP-Method-Override: Google's Java client sends every PATCH so, and its
    Python discovery client a GET that is too long for an address, with the query as the body.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            scope, receive = await self._overridden(scope, receive)
        await self.app(scope, receive, send)

    async def _overridden(self, scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
        headers = dict(scope["headers"])
        method = headers.get(HEADER, b"").decode("latin-1").upper()
        if method not in OVERRIDES:
            return scope, receive
        scope = {**scope, "method": method}
        if method == "GET" and headers.get(b"content-type", b"").startswith(FORM):
            form = await _read_form(scope, receive)
            query = b"&".join(filter(None, (scope["query_string"], form)))
            return {**scope, "query_string": query}, _nothing
        return scope, receive


async def _read_form(scope: Scope, receive: Receive) -> bytes:
    """Return the form; one that is too long is cut where no address would reach, and its fields refused as unknown."""
    form = b""
    async for piece in Request(scope, receive).stream():
        form += piece
        if len(form) > MAX_FORM_BYTES:
            return b"too_long=" + quote(str(len(form))).encode()
    return form


async def _nothing() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}
