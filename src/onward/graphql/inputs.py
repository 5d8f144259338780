"""Inputs of scalars and enums only, and mutations that take one such input, without Strawberry's conversions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any, TypeVar

import strawberry
from graphql import GraphQLField, GraphQLResolveInfo
from strawberry.types.arguments import InputContext
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.utils.str_converters import to_camel_case

T = TypeVar("T")


def scalar_input(cls: type[T]) -> type[T]:
    """Make Strawberry use the values as graphql-core coerced them; it inspects the type of each one otherwise."""
    definition: StrawberryObjectDefinition = cls.__strawberry_definition__  # type: ignore[attr-defined]
    definition.from_input = ScalarInput(definition)
    return cls


class ScalarInput:
    """Builds such an input from coerced values."""

    def __init__(self, definition: StrawberryObjectDefinition) -> None:
        fields = definition.fields
        self._names = [(field.graphql_name or to_camel_case(field.python_name), field.python_name) for field in fields]
        self._absent = {
            field.python_name: None for field in fields if field.default is MISSING and field.default_factory is MISSING
        }

    def __call__(self, cls: type[T], value: Mapping[str, object], _context: InputContext | None = None) -> T:
        return cls(**self._absent | {python: value[name] for name, python in self._names if name in value})


def call_directly(schema: strawberry.Schema) -> None:
    """Call mutations of `info` and such an input directly; Strawberry inspects their arguments each time otherwise."""
    mutation = schema._schema.mutation_type  # noqa: SLF001 - graphql-core's schema has no public name in Strawberry
    for field in mutation.fields.values() if mutation else ():
        field.resolve = _called(field) or field.resolve


def _called(field: GraphQLField) -> Callable[..., Any] | None:
    definition = field.extensions["strawberry-definition"]
    resolver, arguments = definition.base_resolver, definition.arguments
    if definition.extensions or resolver is None or len(arguments) != 1 or list(field.args) != ["input"]:
        return None
    if set(resolver.signature.parameters) != {"info", "input"} or resolver.info_parameter is None:
        return None
    input_ = getattr(arguments[0].type, "__strawberry_definition__", None)
    made = getattr(input_, "from_input", None)
    if not isinstance(made, ScalarInput):
        return None
    call, cls = resolver.wrapped_func, arguments[0].type

    def resolve(_root: Any, info: GraphQLResolveInfo[Any], input: Any) -> Any:
        return call(info=strawberry.Info(_raw_info=info, _field=definition), input=made(cls, input))

    return resolve
