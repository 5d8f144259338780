"""Fields of a class or model, and their descriptions, as far as its annotations tell."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, NewType, Union

import annotated_types
import typing_extensions
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from onward.handlers.output import members_of


class _Missing:
    """Stands for a default: for none, or for one that cannot be shown."""


REQUIRED = _Missing()
HIDDEN = _Missing()
ABSENT = _Missing()  # the key of a TypedDict that need not be there


@dataclass(frozen=True, slots=True)
class Field:
    """A field, before it is shown; `default` may be REQUIRED, HIDDEN or ABSENT."""

    name: str
    annotation: Any
    default: Any = REQUIRED
    alias: str | None = None
    deprecated: str | None = None
    description: str = ""
    metadata: tuple[Any, ...] = ()


def fields_of(type_: Any) -> list[Field]:
    """The fields of a dataclass, a pydantic model or a TypedDict, in order."""
    if isinstance(type_, type) and issubclass(type_, BaseModel):
        return [_of_info(name, info) for name, info in type_.model_fields.items()]
    if (infos := getattr(type_, "__pydantic_fields__", None)) is not None and dataclasses.is_dataclass(type_):
        return [_of_info(name, info) for name, info in infos.items()]
    hints = typing_extensions.get_type_hints(type_, include_extras=True)
    if typing_extensions.is_typeddict(type_):
        optional = type_.__optional_keys__
        return [Field(name, _bare(hint), ABSENT if name in optional else REQUIRED) for name, hint in hints.items()]
    return [Field(field.name, hints[field.name], _default(field)) for field in dataclasses.fields(type_) if field.init]


def _of_info(name: str, info: FieldInfo) -> Field:
    default = REQUIRED if info.is_required() else info.default
    if info.default_factory is not None:
        default = [] if info.default_factory in (list, tuple) else HIDDEN
    said = info.deprecated
    deprecated = said if isinstance(said, str) else getattr(said, "message", "Deprecated.") if said else None
    description, metadata = info.description or "", tuple(info.metadata)
    return Field(name, info.annotation, default, info.alias, deprecated, description, metadata)


def _default(field: dataclasses.Field[Any]) -> Any:
    if isinstance(field.default, FieldInfo):  # `pydantic.Field(...)` of a plain dataclass
        return _of_info(field.name, field.default).default
    if field.default_factory is not dataclasses.MISSING:
        return [] if field.default_factory in (list, tuple) else HIDDEN
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def _bare(hint: Any) -> Any:
    """The type within Required[...], NotRequired[...] or ReadOnly[...]."""
    while getattr(hint, "__origin__", None) in (typing.Required, typing.NotRequired, typing_extensions.ReadOnly):
        hint = hint.__args__[0]
    return hint


def stripped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type itself, without Annotated, aliases and new names, and the metadata that they add."""
    metadata: tuple[Any, ...] = ()
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation, *further = typing.get_args(annotation)
            metadata = (*metadata, *_spread(further))
        elif isinstance(annotation, typing_extensions.TypeAliasType) and annotation is not JsonValue:
            annotation = annotation.__value__
        elif isinstance(annotation, NewType) and annotation.__name__ != "ID":
            annotation = annotation.__supertype__
        else:
            return annotation, metadata


def without_none(annotation: Any) -> tuple[Any, bool]:
    """The type without None, and whether None was in it."""
    members = members_of(annotation)
    rest = tuple(one for one in members if one is not NoneType and one is not None)
    if len(rest) == len(members):
        return annotation, False
    return (Union[rest] if rest else NoneType), True  # noqa: UP007 - of a tuple


def _spread(metadata: Iterable[Any]) -> Iterator[Any]:
    for one in metadata:
        yield one
        if isinstance(one, FieldInfo):
            yield from one.metadata
        elif isinstance(one, annotated_types.GroupedMetadata):
            yield from one


def bounds(metadata: Sequence[Any]) -> dict[str, Any]:
    """The constraints by name: ge, gt, le, lt, min_length, max_length, multiple_of, pattern."""
    names = ("ge", "gt", "le", "lt", "min_length", "max_length", "multiple_of", "pattern")
    return {
        name: value
        for one in metadata
        if not isinstance(one, FieldInfo)
        for name in names
        if (value := getattr(one, name, None)) is not None
    }


def described(description: str, metadata: Sequence[Any], *, items: bool = False) -> str | None:
    """The description of a field with its constraints; None if there is nothing to say."""
    told = [description] if description else _description(metadata)
    found = bounds(metadata)
    if "ge" in found and "le" in found:
        told.append(f"{_figure(found['ge'])} to {_figure(found['le'])}.")
    else:
        told += [f"{words} {_figure(found[name])}." for name, words in _ENDS.items() if name in found]
    least, most = found.get("min_length"), found.get("max_length")
    noun = ("item" if items else "character") + ("s" if (least if most is None else most) != 1 else "")
    if least and most is not None:
        told.append(f"{_figure(least)} to {_figure(most)} {noun}." if least != most else f"{_figure(most)} {noun}.")
    elif least or most is not None:
        told.append(f"At least {_figure(least)} {noun}." if most is None else f"At most {_figure(most)} {noun}.")
    if "multiple_of" in found:
        told.append(f"A multiple of {_figure(found['multiple_of'])}.")
    if "pattern" in found:
        told.append(f"Matches `{getattr(found['pattern'], 'pattern', found['pattern'])}`.")
    return " ".join(told) or None


_ENDS = {"ge": "At least", "gt": "More than", "le": "At most", "lt": "Less than"}


def _description(metadata: Sequence[Any]) -> list[str]:
    """The description of an inner `Field(description=...)` or `Doc(...)`, if there is one."""
    said = [getattr(one, "description", None) or getattr(one, "documentation", None) for one in metadata]
    return [text for text in said if isinstance(text, str)][:1]


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def paragraph(type_: type) -> str | None:
    """The first paragraph of the class's own docstring."""
    text = inspect.cleandoc(type_.__dict__.get("__doc__") or "").partition("\n\n")[0]
    # A dataclass without a docstring is given its signature.
    return None if not text or text.startswith(f"{type_.__name__}(") else " ".join(text.split())
