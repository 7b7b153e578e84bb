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
CONTROLS = re.compile("[\x80-\x9f]")
BYTES = {character: character.encode("cp1252") for character in WINDOWS}


def repair(text: str) -> str:
    """Return the text with what was read wrongly put right; the same text if nothing was."""
    if text.isascii() or not SUSPECT.search(text):
        return text
    whole = _repair_all(text)
    return SUSPECT.sub(lambda found: _repair_all(found.group()), text) if whole == text else whole


def _repair_all(text: str) -> str:
    """Return what a text's bytes say in UTF-8; the same text if they are none, or say what nobody writes."""
    try:
        repaired = b"".join(BYTES.get(each) or each.encode("latin-1") for each in text).decode()
    except UnicodeError:
        return text
    return text if CONTROLS.search(repaired) else repaired
