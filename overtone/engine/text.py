"""Decodes token ids to text that can be sent: never half a character, never the start of a stop sequence.

Incremental decoding follows text-generation-inference: decode a short window twice and compare, because the text of
a token depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # decoders write it for an incomplete character


class TextStream:
    """Decodes one candidate's tokens incrementally."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()):
        self._decode = decode
        self._stops = [stop for stop in stops if stop]
        self._ids: list[int] = []
        self._window = 0  # decoding starts here, for context
        self._shown = 0  # ids before this have been sent
        self._held = ""
        self.stopped = False

    def feed(self, token_id: int) -> str:
        """Add a token and return the text that became final. Sets `stopped` when a stop sequence is complete."""
        self._ids.append(token_id)
        before = self._decode(self._ids[self._window : self._shown])
        after = self._decode(self._ids[self._window :])
        if len(after) <= len(before) or after.endswith(REPLACEMENT):
            return ""
        self._window, self._shown = self._shown, len(self._ids)
        return self._release(after[len(before) :])

    def flush(self) -> str:
        """Return the text that is still held back, because the answer ended without a stop sequence."""
        if self.stopped:
            return ""
        before = self._decode(self._ids[self._window : self._shown])
        after = self._decode(self._ids[self._window :])
        self._window = self._shown = len(self._ids)
        text = self._release(after[len(before) :])
        held, self._held = ("" if self.stopped else self._held), ""
        return text + held

    def _release(self, text: str) -> str:
        """Return the text up to the first stop sequence, or up to where one may begin."""
        text = self._held + text
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest suffix of the text that is a prefix of the stop sequence."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)
