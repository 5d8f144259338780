"""The text of an exception, whatever its class does."""

from __future__ import annotations


def text_of(error: BaseException) -> str:
    """The error's own text; its class's name where `__str__` raises."""
    try:
        return str(error)
    except Exception as raised:  # noqa: BLE001 - the text of other people's classes is their code
        return f"{type(error).__name__}, whose text could not be made: its __str__ raised {type(raised).__name__}"
