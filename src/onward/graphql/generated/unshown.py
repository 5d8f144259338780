"""Types that the schema cannot show, and the words about them."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from onward.graphql.base import HandlerSchemaError


class Unshown(HandlerSchemaError):
    """The schema has no type for this one."""


def unshown(type_: Any) -> str:
    """Say why a type cannot be in an input, and what to do."""
    shown = getattr(type_, "__name__", None) if isinstance(type_, type) else None
    shown = shown or str(type_).replace("typing.", "")
    origin = typing.get_origin(type_)
    if origin in (typing.Union, types.UnionType):
        return f"GraphQL has no input that is one of several types ({shown}); choose one, or Any for JSON"
    if origin is tuple:
        return f"GraphQL has no tuple of different types ({shown}); use a dataclass"
    if origin is Literal:
        return f"GraphQL has no values of several types ({shown}); use texts alone, or numbers alone"
    return f"GraphQL has no type for {shown}; use a dataclass, a pydantic model, or Any for JSON"
