"""Values that are not JSON: the place of the first one, and its type."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

MAX_DEPTH = 200  # nested lists and dictionaries; docs/handlers.md states the number


def fault(value: Any, path: str, is_written: Callable[[Any], bool]) -> tuple[str, str] | None:
    """Find the first value that is not JSON: its dotted path, and the fault; None if there is none.

    `is_written` says of a value of another type whether it can be written all the same.
    Slow, and for error messages only.
    """
    for at, found, depth in _walk(value, path):
        if depth > MAX_DEPTH or (depth == MAX_DEPTH and _is_nested(found)):
            return path, f"holds itself, or more than {MAX_DEPTH} levels of lists and dictionaries"
        if (words := _words(found, is_written)) is not None:
            return at, words
    return None


def _words(value: Any, is_written: Callable[[Any], bool]) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"is {'NaN' if math.isnan(value) else 'infinity' if value > 0 else '-infinity'}, which is no JSON"
    if isinstance(value, str):
        return None if _is_unicode(value) else "is text that is no valid Unicode (half of a surrogate pair)"
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return "is a number beyond 64 bits"
    if isinstance(value, dict):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        return None if wrong is None else f"has a key of type {type(wrong).__name__}; the keys of JSON are text"
    # Not every JSON writer takes subclasses of float and tuple, such as numpy's.
    if isinstance(value, bool | int | list) or type(value) in (float, tuple, type(None)) or is_written(value):
        return None
    kind = type(value).__name__
    forgotten = f"is a {kind} that was not awaited: write `await` before its call"
    return forgotten if inspect.isawaitable(value) else f"is of type {kind}, which is no JSON"


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any, int]]:
    """Yield all values in it, in order, each with its path and depth. Goes one level past the bound at most."""
    waiting = [(path, value, 0)]
    while waiting:
        at, found, depth = waiting.pop()
        yield at, found, depth
        inner = [(f"{at}.{name}" if at else str(name), one, depth + 1) for name, one in _inner(found)]
        waiting += reversed(inner)


def _inner(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, BaseModel):
        return list(value)
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name, None)) for field in fields(value)]
    return []


def _is_nested(value: Any) -> bool:
    """True for a further level, be it empty."""
    return isinstance(value, Mapping | list | tuple | BaseModel) or (
        is_dataclass(value) and not isinstance(value, type)
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
