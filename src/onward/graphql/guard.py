"""Guards mutations: each needs a token, except those that are open to all; a refusal is an error of the payload."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import strawberry
from graphql import GraphQLField, GraphQLObjectType, GraphQLResolveInfo, default_field_resolver
from strawberry.types.base import StrawberryObjectDefinition

from onward.graphql.base import public_error
from onward.graphql.enqueue import MutationError
from onward.graphql.types.enums import UserErrorCode
from onward.graphql.types.user_error import UserError

MESSAGE = "This needs a bearer token."


def guard(schema: strawberry.Schema, open_to_all: Collection[str]) -> None:
    """Make every mutation refuse callers without a token, by a typed error where its payload has `errors`."""
    mutation = schema._schema.mutation_type  # noqa: SLF001 - graphql-core's schema has no public name in Strawberry
    for name, field in mutation.fields.items() if mutation else ():
        if name not in open_to_all:
            field.resolve = partial(_resolve, field.resolve or default_field_resolver, _payload(field))


def answer_refusals(schema: strawberry.Schema) -> None:
    """Make a MutationError that a mutation raises the `errors` of its payload, where it has them."""
    mutation = schema._schema.mutation_type  # noqa: SLF001 - as above
    for field in mutation.fields.values() if mutation else ():
        payload = _payload(field)
        if payload is not None:
            field.resolve = partial(_answered, field.resolve or default_field_resolver, payload)


async def _answered(
    resolve: Any, payload: type[Any], root: Any, info: GraphQLResolveInfo[Any], **arguments: Any
) -> Any:
    try:
        found = resolve(root, info, **arguments)
        return await found if info.is_awaitable(found) else found
    except MutationError as refused:
        return payload(errors=refused.errors)


def _resolve(
    resolve: Any, payload: type[Any] | None, root: Any, info: GraphQLResolveInfo[Any], **arguments: Any
) -> Any:
    if not info.context.viewer.is_nobody:
        return resolve(root, info, **arguments)
    if payload is None:
        raise public_error(MESSAGE, "NOT_AUTHENTICATED")
    return payload(errors=[UserError(code=UserErrorCode.NOT_ALLOWED, message=MESSAGE, path=None)])


def _payload(field: GraphQLField) -> type[Any] | None:
    """Return the class of a payload with `errors` of our type and no other required field; else None."""
    type_ = getattr(field.type, "of_type", field.type)
    if not isinstance(type_, GraphQLObjectType):
        return None
    errors = type_.fields.get("errors")
    if errors is None or str(errors.type) != "[UserError!]!":
        return None
    definition: StrawberryObjectDefinition = type_.extensions["strawberry-definition"]
    try:
        definition.origin(errors=[])
    except TypeError:
        return None
    return definition.origin
