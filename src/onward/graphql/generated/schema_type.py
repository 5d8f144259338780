"""A type of the schema that stands for a Python type, and the conversion of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onward.graphql.generated.members import Member

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class SchemaType:
    """`convert` turns an input that graphql-core has coerced into plain values, or a result into values to answer with.

    `is_default` tells a default that the schema can print from one of a wrong type. `within` is that of a list's items.
    """

    annotation: Any
    convert: Convert | None = None
    is_default: Convert = field(default=lambda _value: False)
    within: SchemaType | None = None
    members: Mapping[str, Member] = field(default_factory=dict)

    def listed(self, *, null: bool) -> SchemaType:
        """The type of lists of these; `null` where items may be null."""
        inner = self.convert

        def convert(values: Any) -> Any:
            return [None if value is None else inner(value) for value in values] if inner is not None else values

        def is_default(value: Any) -> bool:
            return isinstance(value, list | tuple) and all(
                null if one is None else self.is_default(one) for one in value
            )

        annotation = list[self.annotation | None] if null else list[self.annotation]  # type: ignore[name-defined]
        return SchemaType(annotation, convert if inner is not None else list, is_default, self)

    def unwrapped(self) -> SchemaType:
        """The type of results whose values are the roots of a pydantic RootModel."""
        inner = self.convert
        return replace(self, convert=lambda value: value.root if inner is None else inner(value.root))

    def path(self, location: Sequence[str]) -> list[str]:
        """The place of an error in the names of the schema, from the one that pydantic gives."""
        if not location:
            return []
        first, *rest = location
        if self.within is not None:
            return [first, *self.within.path(rest)]
        member = self.members.get(first)
        return [first, *rest] if member is None else [member.name, *member.type.path(rest)]


def fixed(annotation: Any, *types: type, convert: Convert | None = None, check: Convert | None = None) -> SchemaType:
    """The type of a scalar or an enum, whose defaults are of these types."""

    def is_default(value: Any) -> bool:
        # True is an int to Python, and no Int to GraphQL.
        is_one = isinstance(value, types) and (type(value) is not bool or bool in types)
        return is_one and (check is None or bool(check(value)))

    return SchemaType(annotation, convert, is_default)
