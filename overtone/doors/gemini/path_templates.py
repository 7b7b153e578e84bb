"""Google's path templates (google/api/http.proto), as far as the Gemini API uses them, for Starlette.

`{name=tunedModels/*}:generateContent` becomes `/tunedModels/{name__0:id}:generateContent`; `bind` puts what
the stars caught back together: {"name": "tunedModels/x"}. A star is one path segment without a colon,
for a colon begins a method's name; `**` does not occur.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.convertors import StringConvertor, register_url_convertor

VARIABLE = re.compile(r"\{([a-z_.]+)(?:=([^}]+))?\}")


class IdConvertor(StringConvertor):
    """What a star stands for."""

    regex = "[^/:]+"


register_url_convertor("id", IdConvertor())


def to_path(template: str) -> str:
    """Return Starlette's path for a template, with one parameter for each star."""
    return "/" + VARIABLE.sub(lambda match: _starred(match[1], match[2] or "*", ":id"), template)


def bind(template: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the template's fields with the values that a matched path gave them."""
    return {
        match[1]: _starred(match[1], match[2] or "*").format_map(parameters)
        for match in VARIABLE.finditer(template)
    }


def _starred(field: str, pattern: str, kind: str = "") -> str:
    head, *tail = pattern.split("*")
    names = (f"{{{field.replace('.', '__')}__{index}{kind}}}" for index in range(len(tail)))
    return head + "".join(name + piece for name, piece in zip(names, tail, strict=True))
