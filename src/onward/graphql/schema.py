"""The schema, built of this package's types and those of the project's modules."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from types import ModuleType

import strawberry
from graphql import GraphQLScalarType
from strawberry.exceptions import DuplicatedTypeName
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from onward.graphql import datetime_scalar
from onward.graphql.base import SchemaError
from onward.graphql.guard import guard
from onward.graphql.inputs import call_directly
from onward.graphql.mutations import Mutation
from onward.graphql.queries import Query
from onward.graphql.subscriptions import Subscription
from onward.graphql.types.job import Job

KINDS = ("Query", "Mutation", "Subscription")


def build(modules: Sequence[ModuleType] = (), *, open_to_all: Collection[str] = ()) -> strawberry.Schema:
    """Build the schema with the modules' Query, Mutation and Subscription merged in. Raises SchemaError.

    `open_to_all` names the mutations that need no token where tokens are needed.
    """
    schema = _schema(modules)
    _refuse_unsupported(schema)
    call_directly(schema)
    guard(schema, open_to_all)
    return schema


def _schema(modules: Sequence[ModuleType]) -> strawberry.Schema:
    try:
        return strawberry.Schema(
            query=_merged("Query", Query, modules),
            mutation=_merged("Mutation", Mutation, modules),
            subscription=_merged("Subscription", Subscription, modules),
            types=[Job],
            config=StrawberryConfig(scalar_map={datetime: datetime_scalar.scalar()}),
        )
    except DuplicatedTypeName as error:
        raise SchemaError(
            f"gql.modules: {error.message}. Onward has types of its own, such as Node and PageInfo, which those of"
            " strawberry.relay repeat: give your type another name"
        ) from error


def _refuse_unsupported(schema: strawberry.Schema) -> None:
    """Refuse types that Onward cannot serve. Raises SchemaError."""
    if isinstance(schema._schema.type_map.get("Upload"), GraphQLScalarType):  # noqa: SLF001 - Strawberry has no other way to the types in use
        raise SchemaError(
            "gql.modules use Upload, and /graphql reads no files: let the client upload to a route of yours"
        )


def _merged(name: str, ours: type, modules: Sequence[ModuleType]) -> type:
    types, taken = [ours], {field.name: "the contract" for field in ours.__strawberry_definition__.fields}  # type: ignore[attr-defined]
    for module in modules:
        if not any(hasattr(module, kind) for kind in KINDS):
            raise SchemaError(f"{module.__name__} exports none of {', '.join(KINDS)}")
        further = getattr(module, name, None)
        if further is None:
            continue
        definition = getattr(further, "__strawberry_definition__", None)
        if definition is None:
            raise SchemaError(f"{module.__name__}.{name} must be a class with @strawberry.type")
        for field in definition.fields:
            if field.name in taken:
                raise SchemaError(f"{module.__name__}.{name} has a field {field.name}, as {taken[field.name]} has")
            taken[field.name] = module.__name__
        types.append(further)
    return ours if len(types) == 1 else merge_types(name, tuple(types))
