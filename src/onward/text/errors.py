"""The text of an exception, even if its class cannot print it."""

from __future__ import annotations


def text_of(error: BaseException) -> str:
    """Return the error's own text; its class's name if `__str__` raises."""
    try:
        return str(error)
    except Exception as raised:  # noqa: BLE001 - the text of other people's classes is their code
        return f"{type(error).__name__}, whose text could not be made: its __str__ raised {type(raised).__name__}"
