"""An operation for each root field of a schema, so that a field that is added is tried as well."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import graphql
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLUnionType,
)

TEXTS = {"email": "eve@example.com", "DateTime": "2030-01-01T00:00:00Z", "from": "2029-12-31T00:00:00Z"}
SCALARS = {"String": "x", "Int": 1, "Float": 1.5, "Boolean": False, "JSON": {}, "Duration": "PT1S", "Decimal": "1.5"}


@dataclass(frozen=True)
class Try:
    """An operation that asks one root field for all that it can show."""

    kind: str
    field: str
    query: str
    variables: dict[str, Any]


def operations(sdl: str, ids: Mapping[str, str], nesting: int) -> Iterator[Try]:
    """Yield an operation for each root field and, where it takes an ID, for each of these ids.

    It asks for objects inside objects, so many levels of them.
    """
    schema = _built(sdl)
    roots = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
    for kind, root in roots.items():
        for name, field in root.fields.items() if root else ():
            needed = {key: one.type for key, one in field.args.items() if isinstance(one.type, GraphQLNonNull)}
            declared = ", ".join(f"${key}: {type_}" for key, type_ in needed.items())
            given = ", ".join(f"{key}: ${key}" for key in needed)
            query = f"{kind}{f'({declared})' if declared else ''} {{ {name}{f'({given})' if given else ''}"
            query += f" {_selection(schema, graphql.get_named_type(field.type), nesting)} }}"
            takes_id = any(str(one.type).startswith("ID") or _has_id(one.type) for one in field.args.values())
            for id_ in ids.values() if takes_id else (next(iter(ids.values())),):
                yield Try(kind, name, query, {key: _value(key, type_, id_) for key, type_ in needed.items()})


@cache
def _built(sdl: str) -> graphql.GraphQLSchema:
    return graphql.build_schema(sdl)


def _has_id(type_: Any) -> bool:
    named = graphql.get_named_type(type_)
    return isinstance(named, GraphQLInputObjectType) and "id" in named.fields


def _value(name: str, type_: Any, id_: str) -> Any:
    if isinstance(type_, GraphQLNonNull):
        return _value(name, type_.of_type, id_)
    if isinstance(type_, GraphQLList):
        return [_value(name, type_.of_type, id_)]
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    if isinstance(type_, GraphQLInputObjectType):
        fields = {key: field for key, field in type_.fields.items() if graphql.is_required_input_field(field)}
        return {key: _value(key, field.type, id_) for key, field in fields.items()}
    if type_.name == "ID":
        return id_
    return TEXTS.get(name, TEXTS.get(type_.name, SCALARS.get(type_.name)))


def _selection(schema: graphql.GraphQLSchema, type_: GraphQLNamedType, depth: int, above: tuple[str, ...] = ()) -> str:
    """Return all fields of a type, and those of the objects below it that are not above it as well."""
    if isinstance(type_, GraphQLUnionType | GraphQLInterfaceType):
        shown = [
            f"... on {one.name} {_selection(schema, one, depth, above)}" for one in schema.get_possible_types(type_)
        ]
        return f"{{ __typename {' '.join(shown)} }}"
    if not isinstance(type_, GraphQLObjectType):
        return ""
    shown = ["__typename"]
    for name, field in type_.fields.items():
        below = graphql.get_named_type(field.type)
        if any(graphql.is_required_argument(one) for one in field.args.values()) or below.name in (*above, type_.name):
            continue
        if graphql.is_leaf_type(below):
            shown.append(name)
        elif depth > 0:
            shown.append(f"{name} {_selection(schema, below, depth - 1, (*above, type_.name))}")
    return f"{{ {' '.join(shown)} }}"
