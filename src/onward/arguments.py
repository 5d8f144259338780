"""Checks the arguments of the public interface where they are given, so that a wrong one fails there, by its name."""

import reprlib
from collections.abc import Iterable


def check_argument(name: str, value: object, expected: str, *types: type) -> None:
    """Check that an argument is of one of the types; True and False are no numbers. Raises TypeError."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise wrong_argument(name, value, expected)


def check_names(name: str, value: object, expected: str, *types: type) -> None:
    """Check that an argument is a collection of texts; one text alone is none, though it has letters."""
    is_text = isinstance(value, str | bytes)
    if is_text or not isinstance(value, types) or not _are_texts(value):
        raise wrong_argument(name, value, expected)


def wrong_argument(name: str, value: object, expected: str) -> TypeError:
    """Return the error: the argument, the way to write it, and the value, cut short."""
    return TypeError(f"{name} must be {expected} (got {reprlib.repr(value)})")


def _are_texts(values: object) -> bool:
    return isinstance(values, Iterable) and all(isinstance(one, str) for one in values)
