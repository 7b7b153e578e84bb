"""Bytes as text, in the encodings that people's files have."""

from __future__ import annotations

import pytest

from overtone.dataset.encodings import decode
from overtone.errors import OvertoneError

TEXT = "text_input,output\nGrüße,„ja“ – 5 €\n"


@pytest.mark.parametrize(
    ("encoding", "title"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8 with a byte order mark"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("cp1252", "Windows-1252"),
    ],
)
def test_an_encoding_is_recognised_and_named(encoding: str, title: str) -> None:
    assert decode(TEXT.encode(encoding), "x.csv") == (TEXT, title)


def test_two_byte_order_marks_are_no_text() -> None:
    assert decode("\ufeff\ufeffa".encode(), "x.csv")[0] == "a"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            f"é\n{TEXT}".encode() + b"\xff",
            r"x is UTF-8, but line 4 holds the byte 0xff .* Save that line again",
        ),
        (b"a\nb\x81c", r"x is neither UTF-8 nor Windows-1252: line 2 holds the byte 0x81"),
        (b"\xff\xfea", r"x begins as UTF-16 and is damaged at byte 2"),
        (b"PAR1", "a Parquet file, not text"),
        (b"PK\x03\x04", "an archive, not text"),
        (b"\x1f\x8b", "a gzip file"),
    ],
)
def test_what_is_no_text_says_what_it_seems_to_be(data: bytes, sentence: str) -> None:
    with pytest.raises(OvertoneError, match=sentence):
        decode(data, "x")


def test_one_damaged_byte_does_not_make_a_file_windows_1252() -> None:
    with pytest.raises(OvertoneError, match="belongs to no character"):
        decode("Привет".encode() + b"\xe9 ", "x")
