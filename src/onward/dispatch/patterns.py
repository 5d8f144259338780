"""Values set for handlers, or for families of them, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from onward.text.patterns import matches

T = TypeVar("T")


class Patterns(Generic[T]):
    """The value for a handler: an exact name beats a pattern, a longer pattern a shorter one."""

    def __init__(self, default: T, values: Mapping[str, T]) -> None:
        self._default = default
        self._exact = {name: value for name, value in values.items() if "*" not in name}
        patterns = [(pattern, value) for pattern, value in values.items() if "*" in pattern]
        self._patterns = sorted(patterns, key=lambda pair: -len(pair[0]))

    def __call__(self, handler: str) -> T:
        if handler in self._exact:
            return self._exact[handler]
        return next((value for pattern, value in self._patterns if matches(handler, pattern)), self._default)


Routes = Patterns[str]
"""The backend that a handler's jobs go to."""
NO_PRIORITIES = Patterns(0, {})
