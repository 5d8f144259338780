"""A resolver that compiled selections may call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ValueResolver:
    """A resolver that needs the parent's value alone, and answers at once."""

    read: Callable[[Any], Any]

    def __call__(self, value: Any, _info: object) -> Any:
        return self.read(value)
