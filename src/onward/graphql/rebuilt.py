"""The library's types, made anew for a schema that others build.

There each has the names of the contract whatever the schema's name converter does, a prefix where one is asked for,
and no need of a scalar or default resolver of the schema's. Without a prefix a type and the one that it was made from
are the same to Strawberry, which compares modules and names, so that both may be used in one schema.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, cast

import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.exceptions import DuplicatedTypeName
from strawberry.types.arguments import StrawberryArgument
from strawberry.types.base import (
    StrawberryContainer,
    StrawberryObjectDefinition,
    StrawberryOptional,
    get_object_definition,
)
from strawberry.types.enum import StrawberryEnumDefinition, has_enum_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType
from strawberry.types.scalar import ScalarDefinition
from strawberry.types.union import StrawberryUnion
from strawberry.utils.str_converters import to_camel_case

from onward.graphql.base import SchemaError
from onward.graphql.generated import scalars
from onward.graphql.generated.outputs import JobOutput
from onward.graphql.inputs import ScalarInput, own_name
from onward.graphql.value_resolver import DIRECT, ValueResolver
from onward.jobs.model import to_datetime

THEIRS = "strawberry."  # types of Strawberry's own, such as PageInfo, are the schema's


class NameTaken(SchemaError, DuplicatedTypeName):
    """The schema has a type of its own with the name of one of the library's."""

    def __init__(self, name: str, other: type) -> None:
        DuplicatedTypeName.__init__(self, None, None, name)
        self.message = self.rich_message = (
            f"the schema has two types named {name}: Onward's, and {other.__module__}.{other.__qualname__}. Rename"
            ' yours, or give those of Onward a prefix: Onward.from_settings(..., type_prefix="Onward")'
        )
        self.args = (self.message,)


class _Definition(StrawberryObjectDefinition):
    """A definition that names the other type where Strawberry finds two of one name."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StrawberryObjectDefinition):
            return NotImplemented
        if self.name == other.name and _place(self.origin) != _place(other.origin):
            raise NameTaken(self.name, other.origin)
        return self is other

    __hash__ = object.__hash__


class _Enum(StrawberryEnumDefinition):
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StrawberryEnumDefinition):
            return NotImplemented
        if self.name == other.name and self.wrapped_cls is not other.wrapped_cls:
            raise NameTaken(self.name, other.wrapped_cls)
        return self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


class LibraryField(StrawberryField):
    """A field that reads an attribute, whatever the schema's default resolver is. The ledger's times are datetimes."""

    def get_result(self, source: Any, info: Any, args: list[Any], kwargs: Any) -> Any:
        if self.base_resolver is not None:
            return super().get_result(source, info, args, kwargs)
        return self.metadata[DIRECT].read(source)


class _Later(LazyType[Any, Any]):
    """A type that is being made, by its key."""

    def __init__(self, made: Mapping[Any, Any], key: Any) -> None:
        super().__init__(key.__name__, key.__module__)
        object.__setattr__(self, "_find", partial(made.__getitem__, key))

    def resolve_type(self) -> Any:
        return self._find()  # type: ignore[attr-defined]


class Rebuilt:
    """The library's types for one schema, each made once."""

    def __init__(self, prefix: str, output: JobOutput) -> None:
        self._prefix = prefix
        self._output = output
        self._started: set[Any] = set()  # types that are made, or being made
        self._made: dict[Any, Any] = {
            type_: type(definition.name, (), {"_scalar_definition": self._scalar(definition)})
            for type_, definition in scalars.definitions().items()
        }

    def of(self, type_: Any) -> Any:
        """The type for a schema of others; that of a scalar which every schema has is the same."""
        if isinstance(type_, LazyType):
            type_ = type_.resolve_type()
        if isinstance(type_, StrawberryContainer):
            return type(type_)(self.of(type_.of_type))
        if isinstance(type_, StrawberryUnion):
            return self._union(type_)
        if has_enum_definition(type_):
            type_ = type_.__strawberry_definition__
        key = type_.wrapped_cls if isinstance(type_, StrawberryEnumDefinition) else type_
        if key not in self._made:
            if key in self._started:  # a type with a field of its own kind, perhaps by way of another type
                return _Later(self._made, key)
            self._started.add(key)
            self._made[key] = self._new(type_)
        return self._made[key]

    def field(self, field: StrawberryField) -> LibraryField:
        """The same field, with its types made anew."""
        type_ = field.type
        metadata = dict(field.metadata)
        if field.is_basic_field:
            of_time = (type_.of_type if isinstance(type_, StrawberryOptional) else type_) is datetime
            read = attrgetter(field.python_name)
            metadata[DIRECT] = ValueResolver(partial(_time, read) if of_time else read)
        made = LibraryField(
            python_name=field.python_name,
            graphql_name=own_name(field),
            type_annotation=StrawberryAnnotation(self.of(type_)),
            is_subscription=field.is_subscription,
            description=field.description,
            base_resolver=field.base_resolver,
            default=field.default,
            default_factory=field.default_factory,
            metadata=metadata,
            deprecation_reason=field.deprecation_reason,
            directives=field.directives,
            extensions=field.extensions,
        )
        made.arguments = [self._argument(one) for one in field.arguments]
        return made

    def _new(self, type_: Any) -> Any:
        if isinstance(type_, StrawberryEnumDefinition):
            return _Enum(
                type_.wrapped_cls, self._prefix + type_.name, type_.values, type_.description, type_.directives
            )
        definition = get_object_definition(type_)
        if definition is None or definition.origin.__module__.startswith(THEIRS):
            return type_
        return self._object(definition)

    def _object(self, definition: StrawberryObjectDefinition) -> type:
        origin = definition.origin
        namespace: dict[str, Any] = {"__module__": origin.__module__, "__qualname__": origin.__qualname__}
        if definition.is_type_of is not None:
            namespace["is_type_of"] = staticmethod(definition.is_type_of)
        found = [field for field in self._output.fields(definition) if own_name(field) == own_name(field)]
        namespace |= {field.python_name: self.field(field) for field in found}
        decorate = strawberry.input if definition.is_input else strawberry.type
        made: Any = decorate(
            type(origin.__name__, (origin,), namespace),
            name=self._prefix + definition.name,
            description=definition.description,
        )
        new: StrawberryObjectDefinition = made.__strawberry_definition__
        made.__strawberry_definition__ = new = _Definition(**{one.name: getattr(new, one.name) for one in fields(new)})
        is_scalar_input = isinstance(definition.from_input, ScalarInput)
        new.from_input = ScalarInput(new) if is_scalar_input else definition.from_input
        return cast("type", made)

    def _argument(self, argument: StrawberryArgument) -> StrawberryArgument:
        made = copy.copy(argument)
        made.graphql_name = argument.graphql_name or to_camel_case(argument.python_name)
        made.type_annotation = StrawberryAnnotation(self.of(argument.type))
        return made

    def _union(self, union: StrawberryUnion) -> StrawberryUnion:
        assert union.graphql_name is not None  # noqa: S101 - it is the library's
        return StrawberryUnion(
            name=self._prefix + union.graphql_name,
            type_annotations=tuple(StrawberryAnnotation(self.of(one)) for one in union.types),
            description=union.description,
        )

    def _scalar(self, definition: ScalarDefinition) -> ScalarDefinition:
        made = copy.copy(definition)
        made.name = self._prefix + definition.name
        return made


def _time(read: Callable[[Any], Any], source: Any) -> Any:
    value = read(source)
    return to_datetime(value) if type(value) is int else value


def _place(type_: type) -> tuple[str, str]:
    return type_.__module__, type_.__qualname__
