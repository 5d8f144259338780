"""A shorter way to resolvers for this package's own executor, around Strawberry's inspection of each argument.

It is a matter of speed alone: the fields guard themselves on the way of Strawberry's, too, which every other executor
takes, and a schema without it answers the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import strawberry
from graphql import GraphQLField, GraphQLObjectType, GraphQLResolveInfo, GraphQLSchema
from strawberry.types.field import StrawberryField

from onward.graphql.context import Context
from onward.graphql.guard import Guard
from onward.graphql.inputs import ScalarInput
from onward.graphql.value_resolver import DIRECT, InfoResolver, ValueResolver

Resolve = Callable[..., Any]


def call_directly(schema: strawberry.Schema) -> GraphQLSchema:
    """Take the shorter way wherever there is one, and return the schema to execute. May be called twice."""
    core = schema._schema  # noqa: SLF001 - graphql-core's schema has no public name in Strawberry
    for field in _fields(core):
        definition = field.extensions.get("strawberry-definition")
        usual = field.resolve
        if isinstance(definition, StrawberryField) and usual is not None and not _is_direct(usual):
            # Another extension, such as a permission, is called on the usual way alone.
            alone = all(isinstance(one, Guard) for one in definition.extensions)
            own = definition.metadata.get(DIRECT) if alone else None
            direct = own or _called(field, definition, schema.config.info_class)
            if isinstance(direct, ValueResolver):
                field.resolve = _ReadDirectly(direct.read, usual)
            elif isinstance(direct, InfoResolver):
                field.resolve = _ReadByInfo(direct.read, usual)
            elif direct is not None:
                field.resolve = partial(_resolve, direct, usual)
    return core


@dataclass(frozen=True, slots=True)
class _ReadDirectly(ValueResolver):
    usual: Resolve

    def __call__(self, value: Any, info: Any) -> Any:
        return self.read(value) if type(info.context) is Context else self.usual(value, info)


@dataclass(frozen=True, slots=True)
class _ReadByInfo(InfoResolver):
    usual: Resolve

    def __call__(self, value: Any, info: Any) -> Any:
        return self.read(value, info) if type(info.context) is Context else self.usual(value, info)


def _is_direct(resolve: Resolve) -> bool:
    return isinstance(resolve, ValueResolver | InfoResolver) or getattr(resolve, "func", None) is _resolve


def _fields(schema: GraphQLSchema) -> Iterator[GraphQLField]:
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLObjectType) and type_ is not schema.subscription_type:
            yield from type_.fields.values()


def _resolve(direct: Resolve, usual: Resolve, root: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    # A schema that others build may be executed by both.
    return (direct if type(info.context) is Context else usual)(root, info, **arguments)


def _called(field: GraphQLField, definition: StrawberryField, info_class: type[strawberry.Info]) -> Resolve | None:
    """The resolver of a field with `info` and an input of scalars; None for any other field."""
    resolver, arguments = definition.base_resolver, definition.arguments
    if resolver is None or len(arguments) != 1 or list(field.args) != ["input"]:
        return None
    if set(resolver.signature.parameters) != {"info", "input"} or resolver.info_parameter is None:
        return None
    input_ = getattr(arguments[0].type, "__strawberry_definition__", None)
    make: Any = getattr(input_, "from_input", None)
    cls: Any = arguments[0].type
    guards = [one for one in definition.extensions if isinstance(one, Guard)]
    if not isinstance(make, ScalarInput) or len(definition.extensions) != len(guards) or len(guards) > 1:
        return None
    call: Any = resolver.wrapped_func

    def resolve(_root: Any, info: GraphQLResolveInfo[Any], input: Any) -> Any:
        shown = info_class(_raw_info=info, _field=definition)
        if guards:
            return guards[0].around(info.context, partial(call, info=shown, input=make(cls, input)))
        return call(info=shown, input=make(cls, input))

    return resolve
