"""The credentials of a request, wherever clients of the Gemini API put them."""

from __future__ import annotations

from collections.abc import Mapping

from overtone.service.access import Credentials


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
