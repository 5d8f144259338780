"""Types in a form that pydantic takes: before Python 3.12 it knows the TypedDicts of typing_extensions alone."""

from __future__ import annotations

import sys
import types
import typing
from functools import cache
from typing import Any, NotRequired, Union

import typing_extensions

from onward.handlers.fields import optional_keys


def supported(type_: Any) -> Any:
    """The type with each TypedDict inside in that form; the same one each time."""
    origin, args = typing.get_origin(type_), typing.get_args(type_)
    if origin in (typing.Required, typing.NotRequired):
        return supported(args[0])
    if origin is typing.Annotated:
        return typing.Annotated[supported(args[0]), *args[1:]]
    if args and origin not in (None, typing.Literal, typing_extensions.Literal):
        return _with(type_, origin, args)
    return _converted(type_) if typing.is_typeddict(type_) and sys.version_info < (3, 12) else type_


def _with(type_: Any, origin: Any, args: tuple[Any, ...]) -> Any:
    inner = tuple(supported(one) for one in args)
    if inner == args:
        return type_
    return Union[inner] if origin in (Union, types.UnionType) else origin[inner]  # noqa: UP007 - of a tuple


@cache  # two handlers of one TypedDict have one type in the schema, too
def _converted(type_: Any) -> Any:
    optional = optional_keys(type_)
    hints: Any = {
        name: NotRequired[supported(hint)] if name in optional else supported(hint)
        for name, hint in typing.get_type_hints(type_, include_extras=True).items()
    }
    made: Any = typing_extensions.TypedDict(type_.__name__, hints)  # type: ignore[misc]
    made.__module__, made.__doc__ = type_.__module__, type_.__doc__
    return made
