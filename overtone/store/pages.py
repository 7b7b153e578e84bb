"""Pagination (AIP-158): a page token says after which row the next page begins, and of which list.

A token is signed with the database's secret and bound to the list it came from. A forged token, and a token of
another service or another list, are refused. Its characters are safe in a URL.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from overtone.errors import InvalidArgument, Ref

SIGNATURE_BYTES = 9
POSITION_BYTES = 8


@dataclass(frozen=True)
class Pager:
    """Makes and reads the tokens of one list, identified by parts: ("permissions", "7")."""

    secret: bytes
    question: tuple[str, ...]

    def token(self, after: int) -> str:
        """Return the token of the page that begins after this row."""
        position = after.to_bytes(POSITION_BYTES, "big")
        return urlsafe_b64encode(position + self._sign(position)).decode().rstrip("=")

    def position(self, token: str) -> int:
        """Return the row after which the token's page begins; 0 for the first page, whose token is empty.

        Raises InvalidArgument unless this service made the token for this list.
        """
        if not token:
            return 0
        try:
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            raw = b""
        position, signature = raw[:POSITION_BYTES], raw[POSITION_BYTES:]
        if not hmac.compare_digest(signature, self._sign(position)):
            raise InvalidArgument(
                "page_token is not a token that this service issued for this list. "
                "Send the {token} of the previous page, with the same filter and the same key, or none.",
                token=Ref("field", ("next_page_token",)),
            )
        return int.from_bytes(position, "big")

    def _sign(self, position: bytes) -> bytes:
        message = position + "\0".join(self.question).encode()
        return hmac.digest(self.secret, message, "sha256")[:SIGNATURE_BYTES]
