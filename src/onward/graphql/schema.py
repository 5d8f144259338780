"""The schema, built of this package's types and those of the project's modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import ModuleType
from typing import Any

import strawberry
from graphql import GraphQLSchema
from strawberry.exceptions import DuplicatedTypeName
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types
from strawberry.types.base import StrawberryObjectDefinition
from strawberry.types.field import StrawberryField
from strawberry.utils.str_converters import to_camel_case

from onward.graphql import datetime_scalar, unsupported
from onward.graphql.base import HandlerSchemaError, SchemaError
from onward.graphql.direct import call_directly
from onward.graphql.generated import scalars
from onward.graphql.generated.classes import class_of
from onward.graphql.generated.files import file_of, naming_file
from onward.graphql.generated.mutations import MadeMutation, mutation_of
from onward.graphql.generated.outputs import JobOutput
from onward.graphql.generated.types import Types
from onward.graphql.guard import Guard
from onward.graphql.inputs import own_name
from onward.graphql.mutations import Mutation
from onward.graphql.queries import Query
from onward.graphql.subscriptions import Subscription
from onward.graphql.types.batch import Batch
from onward.graphql.types.job import Job
from onward.handlers.base import Handler

KINDS = ("Query", "Mutation", "Subscription")


class Schema(strawberry.Schema):
    """Strawberry's schema, with the field `Job.output` where handlers declare result types."""

    def __init__(self, output: JobOutput, **given: Any) -> None:
        self._output = output
        super().__init__(**given)

    def get_fields(self, type_definition: StrawberryObjectDefinition) -> list[StrawberryField]:
        return self._output.fields(type_definition)


def build(
    modules: Sequence[ModuleType] = (),
    *,
    handlers: Mapping[str, Handler] | None = None,
    open_to_all: Collection[str] = (),
) -> strawberry.Schema:
    """Build the schema with the modules' Query, Mutation and Subscription merged in, and with the handlers' mutations.

    `open_to_all` names the mutations that need no token where tokens are needed. Raises SchemaError.
    """
    unsupported.refuse_modules(modules)
    all_handlers = list((handlers or {}).values())
    types = Types(_described(modules))
    made = []
    for handler in all_handlers:
        with naming_file(handler):
            if (found := mutation_of(handler, types)) is not None:
                made.append(found)
    output = JobOutput(all_handlers, types)
    config = StrawberryConfig(scalar_map={datetime: datetime_scalar.scalar(), **scalars.definitions()})
    try:
        schema = Schema(
            output,
            query=_merged("Query", Query, modules),
            mutation=_merged("Mutation", Mutation, modules, made, partial(_guarded, open_to_all=open_to_all)),
            subscription=_merged("Subscription", Subscription, modules),
            types=[Job, Batch],
            config=config,
        )
    except DuplicatedTypeName as error:
        raise _collision(error, types, all_handlers) from error
    unsupported.refuse_types(schema)
    return schema


def served(schema: strawberry.Schema) -> GraphQLSchema:
    """The schema for this package's own executor. Raises SchemaError for what that one lacks."""
    unsupported.refuse_schema(schema)
    return call_directly(schema)


def _described(modules: Sequence[ModuleType]) -> dict[str, type]:
    """The object types of the project's modules by name; they describe rows and results of classes of that name."""
    found: dict[str, type] = {}
    for module in modules:
        for value in vars(module).values():
            # A lookup on anything but a class may run code.
            definition = getattr(value, "__strawberry_definition__", None) if isinstance(value, type) else None
            if not isinstance(definition, StrawberryObjectDefinition) or definition.is_input:
                continue
            if definition.name not in KINDS and not definition.origin.__module__.startswith("onward."):
                found[definition.name] = definition.origin
    return found


def _collision(error: DuplicatedTypeName, types: Types, handlers: Sequence[Handler]) -> SchemaError:
    """Name the handler whose class, or the module whose type, has the name of another type."""
    for name, place in types.names.places.items():
        if f" {name} " in error.message:
            files = " ".join(file_of(handler) for handler in handlers if handler.name in place)
            return HandlerSchemaError(f"{place}: the schema has another type named {name}; rename the class {files}")
    return SchemaError(
        f"gql.modules: {error.message}. Onward has types of its own, such as Job and Viewer: give your type another"
        " name"
    )


def _merged(
    name: str,
    ours: type,
    modules: Sequence[ModuleType],
    made: Sequence[MadeMutation] = (),
    guarded: Callable[[type], type] = lambda type_: type_,
) -> type:
    types, taken = [ours], {field.name: "the contract" for field in ours.__strawberry_definition__.fields}  # type: ignore[attr-defined]
    for module in modules:
        if not any(hasattr(module, kind) for kind in KINDS):
            fix = "add a class of that name with @strawberry.type, or remove the module"
            raise SchemaError(f"{module.__name__} exports none of {', '.join(KINDS)}: {fix}")
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
        types.append(guarded(further))
    names = {to_camel_case(field): place for field, place in taken.items()}
    for one in made:
        if one.name in names:
            raise HandlerSchemaError(
                f"{one.handler}: {names[one.name]} has a mutation {one.name}; give it another name"
            )
        names[one.name] = one.handler
    if made:
        fields = {one.name: (one.field.type_annotation, one.field) for one in made}
        types.append(strawberry.type(class_of("HandlerMutations", fields)))
    return ours if len(types) == 1 else merge_types(name, tuple(types))


def _guarded(type_: type, open_to_all: Collection[str]) -> type:
    """The same mutations with a guard around each; the class of the project's module stays as it is."""
    definition: StrawberryObjectDefinition = type_.__strawberry_definition__  # type: ignore[attr-defined]
    fields: dict[str, Any] = {}
    for field in definition.fields:
        fields[field.python_name] = made = copy.copy(field)
        made.extensions = [*made.extensions, Guard(open_to_all=own_name(field) in open_to_all)]  # the last is outermost
    namespace = {"__module__": type_.__module__, **fields}
    return strawberry.type(type(type_.__name__, (type_,), namespace), name=definition.name)
