"""Characters that cannot be seen, or that mislead a reader."""

from __future__ import annotations

import re
import unicodedata

# Controls, formats (invisible, or turning the reading direction), halves of pairs, private, unassigned, line breaks.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Unicode's Default_Ignorable_Code_Point, which Python does not know, and the blanks of Braille and of music.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Ends of lines, controls of a terminal (C0, C1, DEL), and marks that turn the order of the text around.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def is_plain(text: str) -> bool:
    """True if the text has no controls, line breaks or format characters."""
    return (text.isascii() and text.isprintable()) or all(unicodedata.category(c) not in _HIDDEN for c in text)


def has_invisible(text: str) -> bool:
    """True if a character of the text shows nothing at all, spaces apart."""
    return not text.isascii() and _INVISIBLE.search(text) is not None


def escape(text: str) -> str:
    r"""Return the text with `\x1b` and the like for every control and every character that reverses text."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escape_json(text: str) -> str:
    """Return the JSON with JSON's escapes for the same characters; its own controls are escaped already."""
    return text if text.isascii() and "\x7f" not in text else _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
