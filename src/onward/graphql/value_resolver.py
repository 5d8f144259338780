"""Resolvers that compiled selections may call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

DIRECT = "onward.direct"
"""In a field's metadata: a resolver of this module, or the field's own as graphql-core calls one."""


@dataclass(frozen=True, slots=True)
class ValueResolver:
    """A resolver that needs the parent's value alone, and answers at once."""

    read: Callable[[Any], Any]

    def __call__(self, value: Any, _info: object) -> Any:
        return self.read(value)


@dataclass(frozen=True, slots=True)
class InfoResolver:
    """A resolver that needs the parent's value and graphql-core's info, and answers at once in our own executor."""

    read: Callable[[Any, Any], Any]

    def __call__(self, value: Any, info: Any) -> Any:
        return self.read(value, info)
