"""The library's root types for a schema that others build: `class Query(onward.Query, Mine)`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import strawberry
from strawberry.types.base import StrawberryObjectDefinition, get_object_definition
from strawberry.types.field import StrawberryField

from onward.graphql.base import SchemaError
from onward.graphql.generated.files import naming_file
from onward.graphql.generated.mutations import mutation_of
from onward.graphql.generated.names import check_prefix
from onward.graphql.generated.outputs import JobOutput
from onward.graphql.generated.types import Types
from onward.graphql.inputs import own_name
from onward.graphql.mutations import Mutation
from onward.graphql.queries import Query
from onward.graphql.rebuilt import Rebuilt
from onward.graphql.send import JobPayload
from onward.graphql.subscriptions import Subscription
from onward.graphql.types.job import Job
from onward.graphql.types.user_error import UserError
from onward.handlers.base import Handler


class Library:
    """The library's types with those of a project's handlers, for one schema of others. Raises SchemaError."""

    def __init__(self, handlers: Iterable[Handler], *, prefix: str = "") -> None:
        check_prefix(prefix)
        handlers, types = list(handlers), Types()
        made = []
        for handler in handlers:
            with naming_file(handler):
                if (found := mutation_of(handler, types)) is not None:
                    made.append(found)
        rebuilt = Rebuilt(prefix, JobOutput(handlers, types))
        self.job = rebuilt.of(Job)
        self.user_error = rebuilt.of(UserError)
        self.job_payload = rebuilt.of(JobPayload)
        self.query = _root(rebuilt, Query)
        self.mutation = _root(rebuilt, Mutation, {one.name: one.field for one in made})
        self.subscription = _root(rebuilt, Subscription)


class Root:
    """Base of the library's root types, by which a field that would be hidden is found."""

    def __init_subclass__(cls, **further: Any) -> None:
        super().__init_subclass__(**further)
        names: dict[str, str] = {}
        for base in cls.__mro__[1:]:
            definition = get_object_definition(base)
            if definition is None or definition.origin is not base:
                continue
            fields = {own_name(field) for field in definition.fields}
            if Root in base.__bases__:
                names = dict.fromkeys(fields, f"onward.{base.__name__}")
            elif not issubclass(base, Root) and (hidden := sorted(fields & names.keys())):
                raise SchemaError(
                    f"{base.__module__}.{base.__qualname__} has a field {hidden[0]}, which that of"
                    f" {names[hidden[0]]} would hide: rename it; or put {base.__name__} in front, as in"
                    f" class {cls.__name__}({base.__name__}, {names[hidden[0]]}), so that yours hides the library's"
                )


def _root(rebuilt: Rebuilt, type_: type, further: dict[str, StrawberryField] | None = None) -> type:
    definition: StrawberryObjectDefinition = type_.__strawberry_definition__  # type: ignore[attr-defined]
    found = {field.python_name: field for field in definition.fields}
    for name, field in (further or {}).items():
        field.python_name = name
        found[name] = field
    namespace: dict[str, Any] = {name: rebuilt.field(field) for name, field in found.items()}
    made = type(type_.__name__, (Root,), {"__module__": __name__, **namespace})
    return strawberry.type(made, description=definition.description)
