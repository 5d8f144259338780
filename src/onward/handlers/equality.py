"""Equality of values, as it is in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_same(one: Any, other: Any) -> bool:
    """Return whether the values are equal. To Python true is 1, also in lists and objects, and to JSON it is not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
