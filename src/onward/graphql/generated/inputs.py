"""Input types, from the fields of dataclasses, pydantic models, TypedDicts and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import strawberry
from strawberry.utils.str_converters import to_camel_case

from onward.graphql.base import HandlerSchemaError
from onward.graphql.generated.classes import class_of
from onward.graphql.generated.descriptions import described, inner_metadata, paragraph
from onward.graphql.generated.members import Member, reading
from onward.graphql.generated.names import field_name
from onward.graphql.generated.schema_type import SchemaType
from onward.handlers.fields import REQUIRED, Field, fields_of

if TYPE_CHECKING:
    from onward.graphql.generated.types import Types


def input_type(types: Types, type_: Any, place: str) -> SchemaType:
    """The input type of a class with fields. Raises HandlerSchemaError."""
    name = type_.__name__ if type_.__name__.endswith("Input") else f"{type_.__name__}Input"
    types.names.claim(name, type_, place)
    members, fields = input_members(types, fields_of(type_), place, type_.__name__)
    cls = strawberry.input(class_of(name, fields), name=name, description=paragraph(type_))
    by_name = {one.python: one for one in members}
    by_alias = {one.alias: by_name[one.name] for one in fields_of(type_) if one.alias}
    return SchemaType(cls, reading(members), members={**by_alias, **by_name})


def input_members(
    types: Types, fields: Sequence[Field], place: str, owner: str, texts: Mapping[str, str] | None = None
) -> tuple[list[Member], dict[str, tuple[Any, Any]]]:
    """The members of an input type, and its Strawberry fields with their types. Raises HandlerSchemaError.

    `texts` has descriptions by name, for fields without one.
    """
    members, made, names = [], {}, dict[str, str]()
    for one in fields:
        where, name = f"{place}.{one.name}", field_name(one.name, place)
        if names.setdefault(name, one.name) != one.name:
            raise HandlerSchemaError(f"{place}: {names[name]} and {one.name} would both be {name}; rename one")
        hint = owner + to_camel_case(f"_{one.name}").lstrip("_")
        type_, null = types.of(one.annotation, where, hint, one.metadata)
        shown = one.default is not None and type_.is_default(one.default)
        optional = null or (one.default is not REQUIRED and not shown)
        members.append(Member(name, one.name, type_, null and one.default is REQUIRED, not null, one.default))
        options: dict[str, Any] = {}
        if shown:
            options = _default(one.default)
        if one.deprecated and (optional or shown):
            options["deprecation_reason"] = one.deprecated
        inner = (*one.metadata, *inner_metadata(one.annotation))
        text = described(one.description or (texts or {}).get(one.name, ""), inner, items=type_.within is not None)
        field = strawberry.field(name=name, description=text, **options)
        made[one.name] = (type_.annotation | None if optional else type_.annotation, field)
    return members, made


def _default(value: Any) -> dict[str, Any]:
    return {"default_factory": lambda: list(value)} if isinstance(value, list | tuple) else {"default": value}
