"""Values set for handlers, or for families of them, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from onward.text.patterns import matches
from onward.text.queues import destination, split

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
        for pattern, value in self._patterns:
            if matches(handler, pattern):
                return value
        return self._default


class Routes:
    """The destination of each handler's jobs: its backend by the settings, and its queue by the settings or by itself.

    `queues` holds the queues of the settings, None for a table without one; `declared` the handlers with their own.
    """

    def __init__(
        self,
        backend: str,
        backends: Mapping[str, str],
        queues: Mapping[str, str | None] = MappingProxyType({}),
        declared: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._backend = Patterns(backend, backends)
        self._queue = Patterns[str | None](None, queues)
        self._known = {handler: self._destination(handler, queue) for handler, queue in declared.items()}
        named = [self(pattern) for pattern, queue in queues.items() if queue is not None]
        self.destinations = tuple(dict.fromkeys((backend, *backends.values(), *self._known.values(), *named)))

    def __call__(self, handler: str, present: str = "") -> str:
        """Return the destination; a handler that is not known here keeps the queue of the present destination."""
        found = self._known.get(handler)
        return self._destination(handler, split(present)[1]) if found is None else found

    def _destination(self, handler: str, queue: str) -> str:
        return destination(self._backend(handler), self._queue(handler) or queue)


NO_PRIORITIES = Patterns(0, {})
