"""Names of types and fields: which ones GraphQL allows, and which class has each."""

from __future__ import annotations

import re
from typing import Any

from strawberry.utils.str_converters import to_camel_case

from onward.graphql.base import HandlerSchemaError, SchemaError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*|_[A-Za-z0-9][A-Za-z0-9_]*", re.ASCII)
NO_ENUM_VALUES = frozenset({"true", "false", "null"})  # by GraphQL
NO_MEMBERS = frozenset({"mro", "name", "value"})  # by Python's Enum


class Names:
    """The names of one schema's types and mutations; `places` has the handler and the class of each type."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self._mutations: dict[str, str] = {}
        self._sources: dict[str, Any] = {}

    def claim_mutation(self, name: str, handler: str) -> None:
        """Take the name of a mutation for one handler. Raises HandlerSchemaError if another has it."""
        other = self._mutations.setdefault(name, handler)
        if other != handler:
            raise HandlerSchemaError(
                f'{handler}: {other} is the mutation {name} already; give one another name, as in mutation="{name}2"'
            )

    def claim(self, name: str, source: Any, place: str) -> None:
        """Take the name for one class. Raises HandlerSchemaError if another has it."""
        if not is_name(name):
            raise HandlerSchemaError(f"{place}: {name!r} is no name of a GraphQL type; {_fix(name)}")
        if self._sources.setdefault(name, source) is not source:
            other = self.places[name]
            raise HandlerSchemaError(
                f"{place}: its type would be named {name}, as that of {other} is; rename one class"
            )
        self.places.setdefault(name, place)


def is_name(text: str) -> bool:
    """True if GraphQL takes it for a name; those with two underscores in front are its own."""
    return NAME.fullmatch(text) is not None and not text.startswith("__")


def check_prefix(prefix: str) -> None:
    """Check what is to begin the names of types; nothing may. Raises SchemaError."""
    if prefix and not is_name(prefix):
        raise SchemaError(f"type_prefix: {prefix!r} begins no name of a GraphQL type; use letters, as in Onward")


def is_literal_name(text: str) -> bool:
    """True if both GraphQL and Python take it for the name of an enum's value."""
    return is_name(text) and text not in NO_ENUM_VALUES | NO_MEMBERS


def field_name(python: str, place: str) -> str:
    """The name of a field in the schema. Raises HandlerSchemaError if it cannot be one."""
    name = to_camel_case(python)
    if not is_name(name):
        raise HandlerSchemaError(
            f"{place}: {python!r} is no name of a GraphQL field; use letters, digits and underscores"
        )
    return name


def _fix(name: str) -> str:
    generic, bracket, inner = name.partition("[")
    if not bracket:
        return "rename the class"
    title = "".join(word[:1].upper() + word[1:] for word in re.findall(r"[A-Za-z0-9_]+", inner.rpartition("]")[0]))
    return f"subclass it, as in `class {title}{generic}({name.removesuffix('Input')}): ...`"
