"""Inputs without Strawberry's conversions: of scalars and enums only, and those of generated mutations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING
from datetime import datetime
from typing import Any, TypeVar

from strawberry.schema.name_converter import NameConverter
from strawberry.types.arguments import InputContext
from strawberry.types.base import StrawberryContainer, StrawberryList, StrawberryObjectDefinition, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from onward.graphql.base import public_error

T = TypeVar("T")
NO_ZONE = 'A time needs a time zone, as in "2030-01-31T09:30:00Z".'


def scalar_input(cls: type[T]) -> type[T]:
    """Make Strawberry use the values as graphql-core coerced them; it inspects the type of each one otherwise."""
    definition: StrawberryObjectDefinition = cls.__strawberry_definition__  # type: ignore[attr-defined]
    definition.from_input = ScalarInput(definition)
    return cls


class ScalarInput:
    """Builds such an input from coerced values."""

    def __init__(self, definition: StrawberryObjectDefinition) -> None:
        self._fields = definition.fields
        self._names = [(own_name(field), field.python_name) for field in definition.fields]
        self._absent = {
            field.python_name: None
            for field in definition.fields
            if field.default is MISSING and field.default_factory is MISSING
        }

    def __call__(self, cls: type[T], value: Mapping[str, object], context: InputContext | None = None) -> T:
        names = self._names
        if context is not None:  # a schema of others may give its fields other names
            name = context.config.name_converter.from_field
            names = [(name(field), field.python_name) for field in self._fields]
        return cls(**self._absent | {python: value[name] for name, python in names if name in value})


def as_given(cls: type, value: Mapping[str, Any], context: InputContext) -> Any:
    """The object of an input as graphql-core coerced it, with the library's own names of its fields."""
    return _renamed(cls, value, context.config.name_converter)


def aware(value: datetime) -> datetime:
    """The time, with a zone: a DateTime of another schema may lack one. Raises GraphQLError."""
    if value.tzinfo is None:
        raise public_error(NO_ZONE, "INVALID")
    return value


def own_name(field: StrawberryField) -> str:
    """The field's name in the library's own schema."""
    return field.graphql_name or to_camel_case(field.python_name)


def _renamed(type_: Any, value: Any, names: NameConverter) -> Any:
    if isinstance(type_, StrawberryList):
        return value if value is None else [_renamed(type_.of_type, one, names) for one in value]
    if isinstance(type_, StrawberryContainer):
        return _renamed(type_.of_type, value, names)
    if isinstance(value, datetime):
        return aware(value)
    definition = get_object_definition(type_)
    if definition is None or value is None:
        return value
    found = [(field, names.from_field(field)) for field in definition.fields]
    return {own_name(field): _renamed(field.type, value[name], names) for field, name in found if name in value}
