"""JSON text to plain values and back, in the dialect of Google's servers.

Reading is strict first, for speed; what strict JSON refuses is read again by a laxer parser, because
Google's own accepts trailing commas, single quotes and unquoted keys, and every published sample leans on
that.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pyjson5

from overtone.errors import InvalidArgument

MAX_DEPTH = 100  # nesting; protobuf's own limit
EXCERPT_CHARACTERS = 40
LINE_BREAKS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}  # clients split events at these too


def parse(body: bytes) -> Any:
    """Return the value that a request's body says; an empty body says {}.

    Raises InvalidArgument, in Google's words, for what is not even lax JSON.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"Invalid JSON payload received. The body is not UTF-8 at byte {error.start}."
        ) from None
    if not text or text.isspace():
        return {}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _parse_lax(text)


def dump(value: Any, pretty: bool = True) -> str:
    """Return the text of a value: one field a line and two spaces a level, or all in one line."""
    if pretty:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    else:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(LINE_BREAKS) if not text.isascii() else text


def _parse_lax(text: str) -> Any:
    try:
        return pyjson5.decode(text, maxdepth=MAX_DEPTH)
    except pyjson5.Json5NestingTooDeep:
        raise InvalidArgument(
            f"Invalid JSON payload received. Message too deep: more than {MAX_DEPTH} levels."
        ) from None
    except pyjson5.Json5EOF as error:
        raise InvalidArgument(_complaint("Unexpected end of string.", text, len(text), error)) from None
    except (pyjson5.Json5Exception, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgument(_complaint("Unexpected token.", text, _position(error), error)) from None


def _position(error: Exception) -> int:
    found = re.search(r"near (\d+)", str(error))
    return max(int(found[1]) - 1, 0) if found else 0


def _complaint(what: str, text: str, position: int, error: Exception) -> str:
    """Return Google's form of a syntax error: the sentence, the place in the text, an arrow under it."""
    start = max(position - EXCERPT_CHARACTERS // 2, 0)
    line = "".join(c if c.isprintable() else " " for c in text[start : start + EXCERPT_CHARACTERS])
    return f"Invalid JSON payload received. {what}\n{line}\n{' ' * (position - start)}^"
