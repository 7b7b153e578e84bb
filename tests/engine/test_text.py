"""Text leaves in whole characters and never with the beginning of a stop sequence."""

import pytest

from overtone.engine.text import TextStream


def decode(ids: object) -> str:
    """Bytes as tokens."""
    return bytes(ids).decode(errors="replace")  # type: ignore[call-overload]


def stream(text: str, *stops: str) -> tuple[list[str], TextStream]:
    out = TextStream(decode, stops)
    pieces = []
    for byte in text.encode():
        pieces.append(out.feed(byte))
        if out.stopped:
            break
    return [*pieces, out.flush()], out


@pytest.mark.parametrize("text", ["plain", "naïve — 日本語 🎼!", "𝄞"])
def test_no_character_is_cut(text: str) -> None:
    pieces, _ = stream(text)
    assert "".join(pieces) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)


def test_a_stop_sequence_across_tokens_ends_the_text_before_it() -> None:
    pieces, out = stream("one two END three", " END")
    assert "".join(pieces) == "one two"
    assert out.stopped


def test_what_only_began_like_a_stop_sequence_is_said_in_the_end() -> None:
    pieces, out = stream("one two EN", "END")
    assert "".join(pieces) == "one two EN"
    assert pieces[-1] == "EN" and not out.stopped


def test_the_earliest_of_several_stop_sequences_counts() -> None:
    pieces, _ = stream("abcdef", "ef", "cd")
    assert "".join(pieces) == "ab"


def test_a_stop_sequence_may_be_a_cut_character_away() -> None:
    pieces, _ = stream("ab日c", "日")
    assert "".join(pieces) == "ab"


def test_bytes_that_never_become_a_character_are_shown_at_the_end() -> None:
    out = TextStream(decode)
    assert out.feed(0xE6) == ""
    assert out.flush() == "\N{REPLACEMENT CHARACTER}"
