"""Token ids to text that may leave: never half a character, never the beginning of a stop sequence.

The incremental decoding follows text-generation-inference: decode a short window twice and compare, because
what a token spells depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # what decoders write for an unfinished character


class TextStream:
    """Turns one candidate's tokens into text, piece by piece."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()):
        self._decode = decode
        self._stops = [stop for stop in stops if stop]
        self._ids: list[int] = []
        self._window = 0  # where decoding starts, for context
        self._shown = 0  # ids before this are text
        self._held = ""
        self.stopped = False

    def feed(self, token_id: int) -> str:
        """Add a token and return what became final. Sets `stopped` when a stop sequence is complete."""
        self._ids.append(token_id)
        before = self._decode(self._ids[self._window : self._shown])
        after = self._decode(self._ids[self._window :])
        if len(after) <= len(before) or after.endswith(REPLACEMENT):
            return ""
        self._window, self._shown = self._shown, len(self._ids)
        return self._release(after[len(before) :])

    def flush(self) -> str:
        """Return what is still held back: the text ended without completing a stop sequence."""
        if self.stopped:
            return ""
        before = self._decode(self._ids[self._window : self._shown])
        after = self._decode(self._ids[self._window :])
        self._window = self._shown = len(self._ids)
        text = self._release(after[len(before) :])
        held, self._held = ("" if self.stopped else self._held), ""
        return text + held

    def _release(self, text: str) -> str:
        """Return the text up to the first stop sequence, or up to where one might begin."""
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
    """Return the length of the longest end of the text that begins the stop sequence."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)
