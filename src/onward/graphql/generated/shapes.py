"""A type of the schema that stands for a Python type, and the conversion of its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """`convert` turns an input that graphql-core has coerced into plain values, or a result into values to answer with.

    `is_default` tells a default that the schema can print from one of a wrong type. `within` is that of a list's items.
    """

    annotation: Any
    convert: Convert | None = None
    is_default: Convert = field(default=lambda _value: False)
    within: Shape | None = None
    members: Mapping[str, Member] = field(default_factory=dict)

    def listed(self, *, null: bool) -> Shape:
        """The shape of a list of these; `null` where items may be null."""
        inner = self.convert

        def convert(values: Any) -> Any:
            return [None if value is None else inner(value) for value in values] if inner is not None else values

        def is_default(value: Any) -> bool:
            return isinstance(value, list | tuple) and all(
                null if one is None else self.is_default(one) for one in value
            )

        annotation = list[self.annotation | None] if null else list[self.annotation]  # type: ignore[name-defined]
        return Shape(annotation, convert if inner is not None else list, is_default, self)

    def path(self, location: Sequence[str]) -> list[str]:
        """The place of an error in the names of the schema, from the one that pydantic gives."""
        if not location:
            return []
        first, *rest = location
        if self.within is not None:
            return [first, *self.within.path(rest)]
        member = self.members.get(first)
        return [first, *rest] if member is None else [member.name, *member.shape.path(rest)]


@dataclass(frozen=True, slots=True)
class Member:
    """A field of an input type: its name in the schema, the parameter's, and the meaning of null and of nothing."""

    name: str
    python: str
    shape: Shape
    none_if_absent: bool = False
    null_is_absent: bool = False
    default: Any = None


def reading(members: Sequence[Member]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Make the function that turns an input object into parameters by their Python names."""
    plan = [(one.name, one.python, one.shape.convert, one.none_if_absent, one.null_is_absent) for one in members]

    def read(given: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, python, convert, none_if_absent, null_is_absent in plan:
            if name in given:
                value = given[name]
                if value is not None:
                    found[python] = value if convert is None else convert(value)
                elif not null_is_absent:
                    found[python] = None
            elif none_if_absent:
                found[python] = None
        return found

    return read


def fixed(annotation: Any, *types: type, convert: Convert | None = None, check: Convert | None = None) -> Shape:
    """The shape of a scalar or an enum, whose defaults are of these types."""

    def is_default(value: Any) -> bool:
        # True is an int to Python, and no Int to GraphQL.
        is_one = isinstance(value, types) and (type(value) is not bool or bool in types)
        return is_one and (check is None or bool(check(value)))

    return Shape(annotation, convert, is_default)
