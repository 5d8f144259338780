"""The beginning of an error's message in one line, which groups errors, and how it is found in the ledger.

The database reads the JSON of an error as text: PostgreSQL refuses to read one with a NUL in it.
"""

from __future__ import annotations

from functools import reduce
from types import MappingProxyType

import orjson

MESSAGE_CHARACTERS, CODE_CHARACTERS = 200, 100
_SPACES = str.maketrans(dict.fromkeys("\t\n\r\f\0", " "))  # NUL, which PostgreSQL does not store, among them
_BACKSLASH, _MORE = "\1", "\2"  # no JSON has them as they are
ONE_LINE = MappingProxyType(
    {
        r"\\": _BACKSLASH,
        **dict.fromkeys((r"\t", r"\n", r"\r", r"\f", r"\u0000"), " "),
        " ": f" {_MORE}",
        f"{_MORE} ": "",
        _MORE: "",
        '"message":" ': '"message":"',
        ' ","retryable":': '","retryable":',
    }
)
"""Replacements, in order, that make of the JSON of an error one whose message is in one line."""


def one_line(text: str, most: int = MESSAGE_CHARACTERS) -> str:
    """Return the beginning of a text in one line."""
    return " ".join(filter(None, text.translate(_SPACES).split(" ")))[:most].rstrip(" ")


def sought(message: str) -> list[str]:
    """Return texts: after `ONE_LINE`, the JSON of an error with this message in one line holds one of them."""
    shown = one_line(message)
    ends = ['","retryable":' if len(shown) < MESSAGE_CHARACTERS else ""]
    if len(shown) == MESSAGE_CHARACTERS - 1:
        ends.append(" ")  # it was cut there
    json = reduce(lambda text, pair: text.replace(*pair), ONE_LINE.items(), orjson.dumps(shown).decode()[1:-1])
    return [f'","message":"{json}{end}' for end in ends]
