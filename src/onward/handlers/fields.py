"""Fields of a class or model, as far as its annotations tell."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import NoneType
from typing import Any, Literal, NamedTuple, NewType, Union

import annotated_types
import typing_extensions
from pydantic import BaseModel, JsonValue, RootModel
from pydantic.fields import FieldInfo


class _Missing:
    """Stands for a missing default, or for one that cannot be shown."""


REQUIRED = _Missing()
HIDDEN = _Missing()
ABSENT = _Missing()  # an optional key of a TypedDict
ALIASES = (typing_extensions.TypeAliasType, getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType))
"""The classes of aliases: from Python 3.12 on `type X = ...` makes one of another class than typing_extensions has."""


class Field(NamedTuple):
    """A field, before it is shown; `default` may be REQUIRED, HIDDEN or ABSENT."""

    name: str
    annotation: Any
    default: Any = REQUIRED
    alias: str | None = None
    deprecated: str | None = None
    description: str = ""
    metadata: tuple[Any, ...] = ()
    is_excluded: bool = False


def fields_of(type_: Any) -> list[Field]:
    """Return the fields of a dataclass, a pydantic model or a TypedDict, in order."""
    if isinstance(type_, type) and issubclass(type_, BaseModel):
        return [_of_info(name, info) for name, info in type_.model_fields.items()]
    if (infos := getattr(type_, "__pydantic_fields__", None)) is not None and dataclasses.is_dataclass(type_):
        return [_of_info(name, info) for name, info in infos.items()]
    hints = typing_extensions.get_type_hints(type_, include_extras=True)
    if typing_extensions.is_typeddict(type_):
        optional = optional_keys(type_)
        return [Field(name, _unwrapped(hint), ABSENT if name in optional else REQUIRED) for name, hint in hints.items()]
    return [Field(field.name, hints[field.name], _default(field)) for field in dataclasses.fields(type_) if field.init]


def optional_keys(type_: Any) -> frozenset[str]:
    """Return the optional keys of a TypedDict; typing overlooks NotRequired in annotations that are text."""
    hints: dict[str, Any] = typing_extensions.get_type_hints(type_, include_extras=True)
    named = (name for name, hint in hints.items() if getattr(hint, "__origin__", None) is typing.NotRequired)
    return frozenset((*type_.__optional_keys__, *named))


def _of_info(name: str, info: FieldInfo) -> Field:
    default = REQUIRED if info.is_required() else info.default
    if info.default_factory is not None:
        default = [] if info.default_factory in (list, tuple) else HIDDEN
    said = info.deprecated
    deprecated = said if isinstance(said, str) else getattr(said, "message", "Deprecated.") if said else None
    description, metadata = info.description or "", tuple(info.metadata)
    return Field(name, info.annotation, default, info.alias, deprecated, description, metadata, info.exclude is True)


def _default(field: dataclasses.Field[Any]) -> Any:
    if isinstance(field.default, FieldInfo):  # `pydantic.Field(...)` of a plain dataclass
        return _of_info(field.name, field.default).default
    if field.default_factory is not dataclasses.MISSING:
        return [] if field.default_factory in (list, tuple) else HIDDEN
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def _unwrapped(hint: Any) -> Any:
    """Return the type within Required[...], NotRequired[...] or ReadOnly[...]."""
    while getattr(hint, "__origin__", None) in (typing.Required, typing.NotRequired, typing_extensions.ReadOnly):
        hint = hint.__args__[0]
    return hint


def stripped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the type without Annotated, aliases and new names, and the metadata that they add."""
    metadata: tuple[Any, ...] = ()
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation, *further = typing.get_args(annotation)
            metadata = (*metadata, *_flattened(further))
        elif is_alias(annotation):
            annotation = annotation.__value__
        elif isinstance(annotation, NewType) and annotation.__name__ != "ID":
            annotation = annotation.__supertype__
        else:
            return annotation, metadata


def is_alias(annotation: Any) -> bool:
    """Return whether it is an alias, as `type X = ...` makes it; `JsonValue` stands for itself."""
    return isinstance(annotation, ALIASES) and annotation is not JsonValue


def named_by(annotation: Any) -> Any:
    """Return the type that an alias names; the alias itself while a class that it names is not defined yet."""
    with suppress(NameError):
        while is_alias(annotation):
            annotation = annotation.__value__
    return annotation


def without_none(annotation: Any) -> tuple[Any, bool]:
    """Return the type without None, and whether None was in it."""
    members = members_of(annotation)
    rest = tuple(one for one in members if one is not NoneType and one is not None)
    if len(rest) < len(members):
        return (Union[rest] if rest else NoneType), True  # noqa: UP007 - of a tuple
    if typing.get_origin(annotation) is Literal and None in (values := typing.get_args(annotation)):
        return Literal[tuple(value for value in values if value is not None)], True
    return annotation, False


def members_of(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union; of any other type itself."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def all_members_of(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, and in place of an alias those of the type that it names."""
    members = members_of(named_by(annotation))
    return tuple(one for each in members for one in (all_members_of(each) if named_by(each) is not each else (each,)))


def has_fields(type_: Any) -> bool:
    """True for a dataclass, a pydantic model and a TypedDict with fields."""
    if typing_extensions.is_typeddict(type_):
        return bool(type_.__required_keys__ | type_.__optional_keys__)
    if not isinstance(type_, type):
        return False
    if issubclass(type_, BaseModel):
        return bool(type_.model_fields) and not issubclass(type_, RootModel)
    return dataclasses.is_dataclass(type_) and bool(type_.__dataclass_fields__)


def is_root_model(type_: Any) -> bool:
    """Return whether the type is a pydantic RootModel, which in JSON is the value of its root."""
    return isinstance(type_, type) and issubclass(type_, RootModel) and "root" in type_.model_fields


def root_of(model: type[BaseModel]) -> Any:
    """Return the type of a RootModel's root, with its metadata."""
    info = model.model_fields["root"]
    return typing.Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation


def _flattened(metadata: Iterable[Any]) -> Iterator[Any]:
    for one in metadata:
        yield one
        if isinstance(one, FieldInfo):
            yield from one.metadata
        elif isinstance(one, annotated_types.GroupedMetadata):
            yield from one
