"""Object types of results, from dataclasses, pydantic models and TypedDicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import strawberry
import typing_extensions
from strawberry.scalars import JSON
from strawberry.utils.str_converters import to_camel_case

from onward.graphql.base import HandlerSchemaError
from onward.graphql.generated.classes import class_of
from onward.graphql.generated.descriptions import bounds, described, inner_metadata, paragraph
from onward.graphql.generated.leaves import as_json
from onward.graphql.generated.names import field_name
from onward.graphql.generated.schema_type import Convert, SchemaType
from onward.graphql.generated.unshown import Unshown
from onward.handlers.fields import ABSENT, Field, fields_of

if TYPE_CHECKING:
    from onward.graphql.generated.types import Types


def answer_type(types: Types, type_: Any, place: str) -> SchemaType:
    """The object type of a class with fields. Raises HandlerSchemaError."""
    name = type_.__name__
    types.names.claim(name, type_, place)
    made: dict[str, tuple[Any, Any]] = {}
    converts: dict[str, Convert | None] = {}
    names: dict[str, str] = {}
    for one in fields_of(type_):
        shown = field_name(one.name, f"{place}.{name}")
        if names.setdefault(shown, one.name) != one.name:
            raise HandlerSchemaError(f"{place}.{name}: {names[shown]} and {one.name} would both be {shown}; rename one")
        found, null = _field_type(types, one, name, place)
        inner = [further for further in (*one.metadata, *inner_metadata(one.annotation)) if not bounds([further])]
        options: dict[str, Any] = {"deprecation_reason": one.deprecated} if one.deprecated else {}
        field = strawberry.field(name=shown, description=described(one.description, inner), **options)
        made[one.name] = (found.annotation | None if null else found.annotation, field)
        converts[one.name] = found.convert
    source = None if typing_extensions.is_typeddict(type_) else type_
    is_type_of = classmethod(lambda cls, value, _info: type(value) in (cls, source))
    cls = strawberry.type(class_of(name, made, is_type_of=is_type_of), name=name, description=paragraph(type_))
    if source is not None and not any(converts.values()):
        return SchemaType(cls)
    return SchemaType(cls, _answering(cls, source, converts))


def _field_type(types: Types, one: Field, owner: str, place: str) -> tuple[SchemaType, bool]:
    hint = owner + to_camel_case(f"_{one.name}").lstrip("_")
    try:
        found, null = types.of(one.annotation, f"{place}.{one.name}", hint, one.metadata, output=True)
    except Unshown:  # GraphQL has no type for it: it is JSON, as in `result`
        found, null = SchemaType(JSON, as_json), True
    return found, null or one.default is ABSENT


def _answering(cls: Any, source: Any, converts: Mapping[str, Convert | None]) -> Convert:
    """Make the function that turns a result into an instance of its Strawberry class."""
    # The values of a TypedDict are dictionaries, and Strawberry reads attributes.
    get: Any = dict.get if source is None else getattr

    def answer(value: Any) -> Any:
        found = ((name, get(value, name, None), convert) for name, convert in converts.items())
        return cls(**{name: one if one is None or convert is None else convert(one) for name, one, convert in found})

    return answer
