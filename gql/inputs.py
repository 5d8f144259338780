"""Inputs that hold leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING
from typing import TypeVar

from strawberry.types.arguments import InputContext
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.utils.str_converters import to_camel_case

T = TypeVar("T")


def leaves(cls: type[T]) -> type[T]:
    """Strawberry takes the input's values as graphql-core coerced them; else it looks at each one's type every time."""
    definition: StrawberryObjectDefinition = cls.__strawberry_definition__  # type: ignore[attr-defined]
    names = [(field.graphql_name or to_camel_case(field.python_name), field.python_name) for field in definition.fields]
    absent = {
        field.python_name: None
        for field in definition.fields
        if field.default is MISSING and field.default_factory is MISSING
    }

    def made(of: type[T], value: Mapping[str, object], _context: InputContext) -> T:
        return of(**absent | {python: value[name] for name, python in names if name in value})

    definition.from_input = made
    return cls
