"""The declared result type of a handler, which its results are checked against."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from types import SimpleNamespace
from typing import Any, NotRequired, Union

import typing_extensions
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic_core import to_json


@dataclass(frozen=True, slots=True)
class Output:
    """One or more types with fields: dataclasses, pydantic models, TypedDicts."""

    types: tuple[type, ...]
    adapter: TypeAdapter[Any]

    @property
    def name(self) -> str:
        return " or ".join(type_.__name__ for type_ in self.types)

    def read(self, stored: Any) -> Any:
        """Turn a stored result into a value of the type. Raises ValidationError."""
        return self.adapter.validate_json(to_json(stored), strict=True, by_alias=True, by_name=True)

    def faults(self, stored: Any) -> list[tuple[str, str]]:
        """Find the places of a stored result that do not fit, and the reason for each."""
        try:
            self.read(stored)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            return [(".".join(map(str, ("result", *one["loc"]))), one["msg"]) for one in found]
        return []


def output_of(function: Callable[..., Any]) -> Output | None:
    """Read the result type from the return annotation; None if it has no fields, or cannot be resolved at run time.

    Raises TypeError for a type that pydantic cannot check.
    """
    function = getattr(function, "__wrapped__", function)
    annotation = getattr(function, "__annotations__", {}).get("return")
    try:
        holder = SimpleNamespace(__annotations__={"return": annotation})
        found = typing.get_type_hints(holder, getattr(function, "__globals__", {}), include_extras=True)["return"]
    except (NameError, AttributeError, KeyError):
        return None  # imported for type checkers alone, so that a worker does without it
    members = [one for one in members_of(found) if one is not type(None)]
    if not members or not all(has_fields(one) for one in members):
        return None
    try:
        checked: Any = tuple(_supported(one) for one in members)
        adapter = TypeAdapter[Any](Union[checked])  # noqa: UP007 - of a tuple
    except (PydanticSchemaGenerationError, PydanticUserError, NameError) as error:
        words = str(error).partition("\n")[0]
        raise TypeError(f"{getattr(function, '__name__', function)}: its result cannot be checked: {words}") from error
    return Output(tuple(members), adapter)


def members_of(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; of any other type itself."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def has_fields(type_: Any) -> bool:
    """True for a dataclass, a pydantic model and a TypedDict with fields."""
    if not isinstance(type_, type):
        return False
    if typing_extensions.is_typeddict(type_):
        return bool(type_.__annotations__)
    if issubclass(type_, BaseModel):
        return bool(type_.model_fields)
    return is_dataclass(type_) and bool(type_.__dataclass_fields__)


def _supported(type_: Any) -> Any:
    """The type in a form that pydantic takes: before Python 3.12 it knows TypedDicts of typing_extensions alone."""
    origin, args = typing.get_origin(type_), typing.get_args(type_)
    if origin in (typing.Required, typing.NotRequired):
        return _supported(args[0])
    if args and origin is not typing.Literal:
        inner = tuple(_supported(one) for one in args)
        if inner == args:
            return type_
        return Union[inner] if origin is types.UnionType else origin[inner]  # noqa: UP007
    if not typing.is_typeddict(type_) or sys.version_info >= (3, 12):
        return type_
    hints: Any = {
        name: _supported(hint) if name in type_.__required_keys__ else NotRequired[_supported(hint)]
        for name, hint in typing.get_type_hints(type_, include_extras=True).items()
    }
    return typing_extensions.TypedDict(type_.__name__, hints)  # type: ignore[operator]
