"""Fields of an input type, and the function that turns an input object into parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from onward.graphql.generated.schema_type import SchemaType


class Member(NamedTuple):
    """A field of an input type: its name in the schema, the parameter's, and the meaning of null and of nothing."""

    name: str
    python: str
    type: SchemaType
    none_if_absent: bool = False
    null_is_absent: bool = False
    default: Any = None


def reading(members: Sequence[Member]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Make the function that turns an input object into parameters by their Python names."""
    plan = [(one.name, one.python, one.type.convert, one.none_if_absent, one.null_is_absent) for one in members]

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
