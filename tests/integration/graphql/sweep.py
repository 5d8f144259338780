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
ARBITRARY = ("String", "ID", "JSON")  # scalars that may be any text


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


def _value(name: str, type_: Any, id_: str, texts: Mapping[str, Any] = TEXTS) -> Any:
    if isinstance(type_, GraphQLNonNull):
        return _value(name, type_.of_type, id_, texts)
    if isinstance(type_, GraphQLList):
        return [_value(name, type_.of_type, id_, texts)]
    if isinstance(type_, GraphQLEnumType):
        return next(iter(type_.values))
    if isinstance(type_, GraphQLInputObjectType):
        fields = {key: field for key, field in type_.fields.items() if graphql.is_required_input_field(field)}
        return {key: _value(key, field.type, id_, texts) for key, field in fields.items()}
    if type_.name == "ID":
        return id_
    return texts.get(name, texts.get(type_.name, SCALARS.get(type_.name)))


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
            length = "(first: 20)" if "first" in field.args else ""  # 200 schedules with all inside are too much
            shown.append(f"{name}{length} {_selection(schema, below, depth - 1, (*above, type_.name))}")
    return f"{{ {' '.join(shown)} }}"


@dataclass(frozen=True)
class Place:
    """A place of a text in the arguments of a field, and an operation with the text there."""

    argument: str  # as in `Query.jobs(filter:)`
    name: str  # as in `Query.jobs(filter.owner)`
    kind: str
    query: str
    variables: dict[str, Any]


def places(sdl: str, text: str, texts: Mapping[str, Any]) -> Iterator[Place]:
    """Yield an operation for each place of a text, an id or a JSON in the arguments of each field, with the text there.

    `texts` has values by the names of other arguments and of members of inputs, and an `id` for all ids. A field inside
    others is asked for by way of a query's fields that need no argument.
    """
    schema, texts = _built(sdl), {**TEXTS, **texts}
    roots = {"query": schema.query_type, "mutation": schema.mutation_type, "subscription": schema.subscription_type}
    waiting: list[tuple[Any, tuple[str, ...]]] = [(root, (kind,)) for kind, root in roots.items() if root]
    seen = {root.name for root, _ in waiting}
    for type_, above in waiting:  # which grows meanwhile
        for name, field in type_.fields.items():
            below: Any = graphql.get_named_type(field.type)
            yield from _places(f"{type_.name}.{name}", field, (*above, name), text, texts)
            if above[0] == "subscription" or any(map(graphql.is_required_argument, field.args.values())):
                continue
            for one in schema.get_possible_types(below) if graphql.is_abstract_type(below) else [below]:
                if graphql.is_object_type(one) and one.name not in seen:
                    seen.add(one.name)
                    waiting.append((one, (*above, name, *((f"... on {one.name}",) if one is not below else ()))))


def arguments(sdl: str) -> set[str]:
    """Return the arguments of all fields that have a place for a text, an id or a JSON."""
    types = [one for one in _built(sdl).type_map.values() if graphql.is_object_type(one) and one.name[:2] != "__"]
    return {
        f"{type_.name}.{name}({key}:)"
        for type_ in types
        for name, field in type_.fields.items()
        for key, one in field.args.items()
        if any(_placed(key, one.type, "", {"id": ""}))
    }


def _places(name: str, field: Any, path: tuple[str, ...], text: str, texts: Mapping[str, Any]) -> Iterator[Place]:
    for tried, argument in field.args.items():
        others = {
            key: _value(key, one.type, texts["id"], texts)
            for key, one in field.args.items()
            if key != tried and (key in texts or graphql.is_required_argument(one))
        }
        declared = ", ".join(f"${key}: {field.args[key].type}" for key in (*others, tried))
        given = ", ".join(f"{key}: ${key}" for key in (*others, tried))
        query = f"{path[0]}({declared}) {{ {' { '.join(path[1:])}({given}) {_shown(field.type)}{' }' * len(path[1:])}"
        for place, value in _placed(tried, argument.type, text, texts):
            yield Place(f"{name}({tried}:)", f"{name}({place})", path[0], query, {**others, tried: value})


def _placed(name: str, type_: Any, text: str, texts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield values of a type, each with the text at another place, and the names of the places."""
    if isinstance(type_, GraphQLNonNull):
        yield from _placed(name, type_.of_type, text, texts)
    elif isinstance(type_, GraphQLList):
        yield from ((place, [value]) for place, value in _placed(name, type_.of_type, text, texts))
    elif isinstance(type_, GraphQLInputObjectType):
        needed = _value(name, type_, texts["id"], texts)
        for key, field in type_.fields.items():
            for place, value in _placed(key, field.type, text, texts):
                yield f"{name}.{place}", {**needed, key: value}
    elif type_.name in ARBITRARY:
        yield name, text


def _shown(type_: Any) -> str:
    type_ = graphql.get_named_type(type_)
    if graphql.is_leaf_type(type_):
        return ""
    return f"{{ __typename {'errors { code }' if 'errors' in getattr(type_, 'fields', ()) else ''} }}"
