"""Types that the schema cannot show, and the words about them."""

from __future__ import annotations

import types
import typing
from dataclasses import is_dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from onward.graphql.base import HandlerSchemaError
from onward.handlers.fields import has_fields


class Unshown(HandlerSchemaError):
    """The schema has no type for this one."""


def unshown(type_: Any) -> str:
    """Say why a type cannot be in an input, and what to do."""
    shown = getattr(type_, "__name__", None) if isinstance(type_, type) else None
    shown = shown or str(type_).replace("typing.", "")
    origin = typing.get_origin(type_)
    return _of_form(type_, origin, shown) or _of_class(type_, origin, shown)


def _of_form(type_: Any, origin: Any, shown: str) -> str | None:
    if origin in (typing.Union, types.UnionType):
        return f"GraphQL has no input that is one of several types ({shown}); choose one, or Any for JSON"
    if origin is tuple:
        return f"GraphQL has no tuple of different types ({shown}); use a dataclass"
    if origin is Literal:
        return f"GraphQL has no values of several types ({shown}); use texts alone, or numbers alone"
    if isinstance(type_, TypeVar):
        return f"{type_.__name__} is a type variable; declare a type, or a pydantic model that subclasses a generic one"
    return None


def _of_class(type_: Any, origin: Any, shown: str) -> str:
    if isinstance(origin, type) and has_fields(origin):
        return f"GraphQL has no generic types ({shown}); use a pydantic model, and a subclass of it for each type"
    if type_ is types.NoneType:
        return "GraphQL has no type for None alone; leave it out"
    if isinstance(type_, type) and (is_dataclass(type_) or issubclass(type_, BaseModel)):
        return f"GraphQL has no types without fields ({shown}); leave it out, or give it a field"
    return f"GraphQL has no type for {shown}; use a dataclass, a pydantic model, or Any for JSON"
