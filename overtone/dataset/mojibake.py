"""Text that was written as UTF-8 and read as Windows-1252: `cafÃ©` for `café`. Found and repaired.

Only sequences that plain writing does not have are taken for it; a false one would change somebody's words. A closing
quote or an ellipsis behind a capital (`AMANHÃ…`) is such a case and is left alone.
"""

from __future__ import annotations

import re

PUNCTUATION = "‘’‚“”„…–—‹›"
WINDOWS = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"  # what Windows-1252 has at 0x80 to 0x9f
FOLLOWING = f"[\x80-\xbf{WINDOWS}]"
LETTER = f"[ÂÃÄÅÎÏÐÑ×ØÙ]{FOLLOWING}"  # Latin, Greek, Cyrillic, Hebrew and Arabic letters
SUSPECT = re.compile(
    f"â(?:€|\x80){FOLLOWING}"  # quotes and dashes
    f"|â(?:‚|\x82)¬"  # the euro sign
    f"|ï»¿"  # a byte order mark
    f"|ð(?:Ÿ|\x9f){FOLLOWING}{{2}}"  # emoji
    f"|[ãäåæçèé](?![{PUNCTUATION}]{{2}}){FOLLOWING}{{2}}"  # Chinese, Japanese, Korean
    f"|(?<![A-ZÀ-Þ])(?<![A-ZÀ-Þ]’)Ã(?=[{PUNCTUATION}]){FOLLOWING}"
    f"|(?!.[{PUNCTUATION}]){LETTER}"
)
BYTES = {character: character.encode("cp1252") for character in WINDOWS}


def repair(text: str) -> str:
    """Return the text with what was read wrongly put right; the same text if nothing was."""
    if text.isascii() or not SUSPECT.search(text):
        return text
    try:
        return _to_bytes(text).decode()  # all of it was read wrongly
    except UnicodeError:
        return SUSPECT.sub(_repair_one, text)


def _repair_one(found: re.Match[str]) -> str:
    try:
        return _to_bytes(found.group()).decode()
    except UnicodeError:
        return found.group()


def _to_bytes(text: str) -> bytes:
    """Return the bytes that were read as this text. Raises UnicodeEncodeError for a character that none is read as."""
    return b"".join(BYTES.get(character) or character.encode("latin-1") for character in text)
