"""Enums of the schema, from Enums and Literals."""

from __future__ import annotations

import typing
from enum import Enum
from typing import Any, Literal

import strawberry

from onward.graphql.base import HandlerSchemaError
from onward.graphql.generated.descriptions import paragraph
from onward.graphql.generated.names import NO_ENUM_VALUES, Names, is_literal_name, is_name
from onward.graphql.generated.scalars import INT, BigInt
from onward.graphql.generated.schema_type import SchemaType, fixed


class Enums:
    """The enums of one schema."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._literals: dict[tuple[tuple[Any, ...], str], SchemaType] = {}

    def of_class(self, cls: type[Enum], place: str) -> SchemaType:
        """The enum of an Enum's names. Raises HandlerSchemaError."""
        self._names.claim(cls.__name__, cls, place)
        if not list(cls):
            raise HandlerSchemaError(f"{place}: {cls.__name__} has no members; GraphQL needs one")
        for name in cls.__members__:
            if not is_name(name) or name in NO_ENUM_VALUES:
                raise HandlerSchemaError(f"{place}: {cls.__name__}.{name} is no name of a GraphQL value; rename it")
        if "__strawberry_definition__" not in cls.__dict__:
            strawberry.enum(cls, description=paragraph(cls))
        return fixed(cls, cls)

    def of_literal(self, annotation: Any, place: str, hint: str) -> SchemaType | None:
        """The enum of the texts, named by `hint`; else a scalar; None where the values are of several types."""
        values = tuple(_flat(annotation))
        if not all(type(value) is str for value in values):
            kinds = {type(value) for value in values}
            if kinds == {int} and not all(value in INT for value in values):
                return fixed(BigInt, int)
            return fixed(*(kinds.pop(),) * 2) if kinds in ({int}, {bool}) else None
        if not all(is_literal_name(value) for value in values):
            return fixed(str, str)
        made = self._literals.get((values, hint))
        if made is None:
            members: Any = {value: value for value in values}
            made = fixed(Enum(hint, members, type=str), str, check=lambda value: value in values)
            strawberry.enum(made.annotation)
            self._names.claim(hint, made.annotation, place)
            self._literals[values, hint] = made
        return made


def _flat(annotation: Any) -> typing.Iterator[Any]:
    for value in typing.get_args(annotation):
        if typing.get_origin(value) is Literal:
            yield from _flat(value)
        else:
            yield value
