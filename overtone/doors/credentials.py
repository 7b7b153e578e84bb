"""What a request says about who sends it, before anyone believes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """Keys as they came; empty text where there is none.

    `project` is the x-goog-user-project header; `host` and `origin` are those of HTTP.
    """

    key: str = ""
    bearer: str = ""
    project: str = ""
    host: str = ""
    origin: str = ""
    client: str = field(
        default="", compare=False
    )  # what sent it, as it says: x-goog-api-client and the user agent


def from_headers(headers: Mapping[str, str], key: str = "") -> Credentials:
    """Read the credentials in headers or gRPC metadata, whose names are lower case.

    A `key` from the address wins over the header. An empty Bearer, which the published tutorial sends when
    its token variable is unset, counts as none.
    """
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    return Credentials(
        key=key or headers.get("x-goog-api-key", ""),
        bearer=token.strip() if scheme.lower() == "bearer" else "",
        project=headers.get("x-goog-user-project", ""),
        host=headers.get("host", ""),
        origin=headers.get("origin", ""),
        client=f"{headers.get('x-goog-api-client', '')} {headers.get('user-agent', '')}".strip(),
    )
