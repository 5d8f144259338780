"""Classes with given fields, for Strawberry to decorate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def class_of(name: str, fields: Mapping[str, tuple[Any, Any]], **further: Any) -> type:
    """A class with these fields, each a type and a Strawberry field, and with `further` attributes."""
    namespace = {python: field for python, (_, field) in fields.items()} | further
    cls = type(name, (), {"__module__": __name__, **namespace})
    cls.__annotations__ = {python: annotation for python, (annotation, _) in fields.items()}
    return cls
