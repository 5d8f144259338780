"""What may stand in a line of text that people type."""

from __future__ import annotations

import unicodedata

# Controls, formats (invisible, or turning the reading direction), halves of pairs, private, unassigned, line breaks.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_plain(text: str) -> bool:
    """Whether every character can be seen, or is a space."""
    return (text.isascii() and text.isprintable()) or all(unicodedata.category(c) not in HIDDEN for c in text)


def normal(text: str) -> str:
    """The same text in Unicode's composed form, NFC."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
