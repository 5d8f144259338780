"""Refuses the parts of modules that `/graphql` does not serve: uploads, federation, schema extensions."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import strawberry
from graphql import GraphQLScalarType
from strawberry import federation
from strawberry.extensions import SchemaExtension
from strawberry.federation.schema_directives import FederationDirective
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from onward.graphql.base import SchemaError

EXTENSIONS = (
    "is for Strawberry's own execution, and Onward runs no schema extensions: give the fields an extension"
    " (strawberry.field(extensions=[...])), or read info.context"
)
FEDERATION = "is for federation, which Onward does not serve: use strawberry.type, and strawberry.field"


def refuse_modules(modules: Iterable[ModuleType]) -> None:
    """Raise SchemaError for a schema extension, for a federated schema, and for types that are refused."""
    for module in modules:
        for name, value in vars(module).items():
            place = f"{module.__name__}.{name}"
            if isinstance(value, federation.Schema):
                raise SchemaError(f"gql.modules: {place} {FEDERATION}")
            own = isinstance(value, type) and issubclass(value, SchemaExtension) and value.__module__ == module.__name__
            if own or (isinstance(value, strawberry.Schema) and value.extensions):
                raise SchemaError(f"gql.modules: {place} {EXTENSIONS}")
            if isinstance(value, type):  # a lookup on anything else may run code
                _refuse_federation(
                    getattr(value, "__strawberry_definition__", None)
                )  # a root type's gets lost when merged


def refuse_schema(schema: strawberry.Schema) -> None:
    """Raise SchemaError for a schema of another builder that Onward's executor could not do justice to."""
    found = {
        "extensions": schema.extensions,
        "operation directives": schema.directives,
        "an execution_context_class": schema.execution_context_class is not StrawberryGraphQLCoreExecutionContext,
        "federation": isinstance(schema, federation.Schema),
    }
    for name, there in found.items():
        if there:
            raise SchemaError(
                f"the schema has {name}, which Onward does not execute: serve it with a router of Strawberry's own, as"
                " in GraphQLRouter(schema, context_getter=onward.context)"
            )
    refuse_types(schema, "the schema")


def refuse_types(schema: strawberry.Schema, place: str = "gql.modules") -> None:
    """Raise SchemaError for Upload, and for a type or field with a directive of federation."""
    types = schema._schema.type_map  # noqa: SLF001 - Strawberry has no other way to the types in use
    if isinstance(types.get("Upload"), GraphQLScalarType):
        raise SchemaError(f"{place}: Upload needs files, which Onward does not read: let the client upload to a route")
    for type_ in types.values():
        _refuse_federation(type_.extensions.get("strawberry-definition"), place)


def _refuse_federation(definition: Any, place: str = "gql.modules") -> None:
    """Raise SchemaError if a definition has a directive of federation; only object types can have one."""
    fields = getattr(definition, "fields", ())
    located = [
        ("", getattr(definition, "directives", None)),
        *((f".{field.name}", field.directives) for field in fields),
    ]
    for where, directives in located:
        for directive in directives or ():
            if isinstance(directive, FederationDirective):
                name = type(directive).__name__
                raise SchemaError(f"{place}: {name} of {definition.name}{where} {FEDERATION}")
