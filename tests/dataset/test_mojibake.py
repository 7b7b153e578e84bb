"""Text that was once read in a wrong encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overtone.dataset.mojibake import repair


@pytest.mark.parametrize(
    "text", ["café", "naïve – “quote”…", "Привет, мир", "日本語", "שלום", "Ελληνικά", "5 € 👍", "Größe"]
)
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_a_text_read_as_windows_1252_is_repaired(text: str, encoding: str) -> None:
    wrong = "".join(
        bytes([byte]).decode(encoding if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "latin-1")
        for byte in text.encode()
    )
    assert wrong != text
    assert repair(wrong) == text


def test_the_rest_of_a_text_stays_as_it_is() -> None:
    assert repair("日本 cafÃ© 日本") == "日本 café 日本"


@pytest.mark.parametrize(
    "text", ["„Spaß“", "AMANHÃ…", "NÃO", "café”…", "„GRÜ“", "Ñandú", "5 Å –", "É ’", "ÀÉÎ", "l’été…"]
)
def test_what_people_write_is_left_alone(text: str) -> None:
    assert repair(text) == text


LETTERS = st.characters(max_codepoint=0x24F, categories=("Lu", "Ll"), exclude_characters="ŒœŠšŽžŸƒ")


@given(st.text(LETTERS, min_size=1))
def test_words_of_latin_letters_are_never_changed(word: str) -> None:
    assert repair(word) == word
