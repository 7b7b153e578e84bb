"""The bytes of a file as text: UTF-8, UTF-16, UTF-32 or Windows-1252, recognised and named.

A file says by its first bytes that it is UTF-16, or by a NUL in every other place. What is not UTF-8 is Windows-1252
only if it holds no broken UTF-8: a single damaged byte does not turn a whole file into another language.
"""

from __future__ import annotations

import codecs
import re

from overtone.errors import OvertoneError

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
NOT_TEXT = {
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "an archive",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"%PDF": "a PDF",
}
LOOKED_AT = 4096  # bytes in which NULs are counted
WIDE_CHARACTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")


def decode(data: bytes, name: str) -> tuple[str, str]:
    """Return the text of a file and the name of its encoding.

    Raises OvertoneError that says what the file seems to be instead.
    """
    for beginning, what in NOT_TEXT.items():
        if data.startswith(beginning):
            raise OvertoneError(f"{name} is {what}, not text; save it as CSV (UTF-8) or JSON lines.")
    for mark, encoding, title in BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decode_as(data, encoding, title, name).lstrip("\ufeff"), title
    encoding = _find_utf16(data)
    if encoding:
        return _decode_as(data, encoding, "UTF-16", name), "UTF-16"
    try:
        return data.decode("utf-8"), "UTF-8"
    except UnicodeDecodeError as error:
        return _decode_windows(data, name, error), "Windows-1252"


def _decode_as(data: bytes, encoding: str, title: str, name: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise OvertoneError(f"{name} begins as {title} and is damaged at byte {error.start}.") from error


def _find_utf16(data: bytes) -> str:
    """Return the name of UTF-16 without a mark: nearly all first, or second, bytes of its letters are NUL."""
    beginning = data[:LOOKED_AT]
    half = len(beginning) // 2
    if half and beginning[1::2].count(0) > 0.7 * half and beginning[0::2].count(0) < 0.1 * half:
        return "utf-16-le"
    if half and beginning[0::2].count(0) > 0.7 * half and beginning[1::2].count(0) < 0.1 * half:
        return "utf-16-be"
    return ""


def _decode_windows(data: bytes, name: str, error: UnicodeDecodeError) -> str:
    line = data.count(b"\n", 0, error.start) + 1
    broken = f"{name} is UTF-8, but line {line} holds the byte 0x{data[error.start]:02x} that belongs to no character"
    if WIDE_CHARACTER.search(data):
        raise OvertoneError(f"{broken}. Save that line again as UTF-8.") from error
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError as other:
        raise OvertoneError(
            f"{name} is neither UTF-8 nor Windows-1252: line {line} holds the byte 0x{data[other.start]:02x}. "
            "Save it as UTF-8."
        ) from other
