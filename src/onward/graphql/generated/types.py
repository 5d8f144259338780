"""Strawberry types made from Python types: of parameters for inputs, of results for answers.

The parts of one schema share a `Types`, which makes each type once and refuses two of one name.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Literal

import strawberry
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from strawberry.scalars import JSON
from strawberry.utils.str_converters import to_camel_case

from onward.graphql.base import HandlerSchemaError
from onward.graphql.generated.fields import (
    ABSENT,
    REQUIRED,
    Field,
    bounds,
    described,
    fields_of,
    paragraph,
    stripped,
    without_none,
)
from onward.graphql.generated.leaves import by_pydantic, scalar, unshown
from onward.graphql.generated.shapes import Convert, Member, Shape, fixed, reading
from onward.handlers.output import has_fields

LISTS = (list, tuple, set, frozenset, Sequence, AbstractSet)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*|_[A-Za-z0-9][A-Za-z0-9_]*", re.ASCII)
RESERVED = frozenset({"true", "false", "null", "mro", "name", "value"})


class Unshown(HandlerSchemaError):
    """The schema has no type for this one."""


class Types:
    """The types of one schema; `known` are the project's own by name, which describe classes of that name."""

    def __init__(self, known: Mapping[str, type] | None = None) -> None:
        self._known = dict(known or {})
        self._made: dict[tuple[Any, bool], Shape] = {}
        self._literals: dict[tuple[tuple[Any, ...], str], Shape] = {}
        self.places: dict[str, str] = {}  # of each name, the handler and the class
        self._sources: dict[str, Any] = {}
        self._open: list[Any] = []

    def claim(self, name: str, source: Any, place: str) -> None:
        """Take the name for one class. Raises HandlerSchemaError if another has it."""
        if not NAME.fullmatch(name) or name.startswith("__"):
            raise HandlerSchemaError(f"{place}: {name!r} is no name of a GraphQL type; rename the class")
        if self._sources.setdefault(name, source) is not source:
            other = self.places[name]
            raise HandlerSchemaError(
                f"{place}: its type would be named {name}, as that of {other} is; rename one class"
            )
        self.places.setdefault(name, place)

    def shape(
        self, annotation: Any, place: str, hint: str, metadata: Sequence[Any] = (), *, output: bool = False
    ) -> tuple[Shape, bool]:
        """The shape of a type, and whether it may be null. Raises HandlerSchemaError where there is none."""
        type_, further = stripped(annotation)
        metadata = (*metadata, *further)
        type_, null = without_none(type_)
        if null:
            shape, _ = self.shape(type_, place, hint, metadata, output=output)
            return shape, True
        found = scalar(type_, metadata, output=output)
        if found is None and isinstance(type_, type) and issubclass(type_, Enum):
            found = self._enum(type_, place)
        if found is None and typing.get_origin(type_) is Literal:
            found = self._literal(typing.get_args(type_), place, hint)
        if found is None and (origin := typing.get_origin(type_) or type_) in LISTS:
            found = self._list(origin, typing.get_args(type_), place, hint, output=output)
        if found is None and has_fields(type_):
            found = self._object(type_, place, output=output)
        if found is None:
            found = by_pydantic(type_)
        if found is None:
            raise Unshown(f"{place}: {unshown(type_)}")
        return found, False

    def _list(self, origin: Any, args: tuple[Any, ...], place: str, hint: str, *, output: bool) -> Shape | None:
        if origin is tuple and args and args[-1] is not Ellipsis and len(set(args)) > 1:
            return None
        shape, null = self.shape(args[0] if args else Any, place, hint, output=output)
        return shape.listed(null=null)

    def _enum(self, cls: type[Enum], place: str) -> Shape:
        self.claim(cls.__name__, cls, place)
        if not all(isinstance(member.value, str | int | float) for member in cls):
            raise HandlerSchemaError(f"{place}: the values of {cls.__name__} must be text or numbers: they become JSON")
        if "__strawberry_definition__" not in cls.__dict__:
            strawberry.enum(cls, description=paragraph(cls))
        return fixed(cls, cls)

    def _literal(self, values: tuple[Any, ...], place: str, hint: str) -> Shape | None:
        values = tuple(one for value in values for one in _flat(value))
        if all(type(value) is str for value in values):
            if not all(NAME.fullmatch(value) and value not in RESERVED for value in values):
                return fixed(str, str)
            made = self._literals.get((values, hint))
            if made is None:
                members: Any = {value: value for value in values}
                made = fixed(Enum(hint, members, type=str), str, check=lambda value: value in values)
                strawberry.enum(made.annotation)
                self.claim(hint, made.annotation, place)
                self._literals[values, hint] = made
            return made
        kinds = {type(value) for value in values}
        return fixed(*(kinds.pop(),) * 2) if kinds in ({int}, {bool}) else None

    def _object(self, type_: Any, place: str, *, output: bool) -> Shape:
        made = self._made.get((type_, output))
        if made is None:
            if any(one is type_ for one in self._open):
                raise Unshown(f"{place}: {type_.__name__} holds itself; declare that field as JSON (Any)")
            self._open.append(type_)
            try:
                made = self._made[type_, output] = self._answer(type_, place) if output else self._input(type_, place)
            finally:
                self._open.pop()
        return made

    def _input(self, type_: Any, place: str) -> Shape:
        name = type_.__name__ if type_.__name__.endswith("Input") else f"{type_.__name__}Input"
        self.claim(name, type_, place)
        members, fields = self.members(fields_of(type_), place, type_.__name__)
        cls = strawberry.input(class_of(name, fields), name=name, description=paragraph(type_))
        by_name = {one.python: one for one in members}
        by_alias = {one.alias: by_name[one.name] for one in fields_of(type_) if one.alias}
        return Shape(cls, reading(members), members={**by_alias, **by_name})

    def members(
        self, fields: Sequence[Field], place: str, owner: str, told: Mapping[str, str] | None = None
    ) -> tuple[list[Member], dict[str, tuple[Any, Any]]]:
        """The members of an input type, and its Strawberry fields with their types. Raises HandlerSchemaError."""
        members, made, names = [], {}, dict[str, str]()
        for one in fields:
            where, name = f"{place}.{one.name}", field_name(one.name, place)
            if names.setdefault(name, one.name) != one.name:
                raise HandlerSchemaError(f"{place}: {names[name]} and {one.name} would both be {name}; rename one")
            hint = owner + to_camel_case(f"_{one.name}").lstrip("_")
            shape, null = self.shape(one.annotation, where, hint, one.metadata)
            shown = one.default is not None and shape.is_default(one.default)
            optional = null or (one.default is not REQUIRED and not shown)
            members.append(Member(name, one.name, shape, null and one.default is REQUIRED, not null, one.default))
            options: dict[str, Any] = {}
            if shown:
                options = _default(one.default)
            if one.deprecated and (optional or shown):
                options["deprecation_reason"] = one.deprecated
            inner = (*one.metadata, *_inner_metadata(one.annotation))
            text = described(one.description or (told or {}).get(one.name, ""), inner, items=shape.within is not None)
            field = strawberry.field(name=name, description=text, **options)
            made[one.name] = (shape.annotation | None if optional else shape.annotation, field)
        return members, made

    def _answer(self, type_: Any, place: str) -> Shape:
        name = type_.__name__
        if (known := self._known.get(name)) is not None:
            return Shape(known)
        self.claim(name, type_, place)
        made: dict[str, tuple[Any, Any]] = {}
        converts: dict[str, Convert | None] = {}
        for one in fields_of(type_):
            shape, null = self._answer_field(one, name, place)
            inner = [further for further in (*one.metadata, *_inner_metadata(one.annotation)) if not bounds([further])]
            options: dict[str, Any] = {"deprecation_reason": one.deprecated} if one.deprecated else {}
            field = strawberry.field(
                name=field_name(one.name, f"{place}.{name}"), description=described(one.description, inner), **options
            )
            made[one.name] = (shape.annotation | None if null else shape.annotation, field)
            converts[one.name] = shape.convert
        source = None if is_typed_dict(type_) else type_
        is_type_of = classmethod(lambda cls, value, _info: type(value) in (cls, source))
        cls = strawberry.type(class_of(name, made, is_type_of=is_type_of), name=name, description=paragraph(type_))
        return Shape(
            cls, None if source is not None and not any(converts.values()) else _answering(cls, source, converts)
        )

    def _answer_field(self, one: Field, owner: str, place: str) -> tuple[Shape, bool]:
        hint = owner + to_camel_case(f"_{one.name}").lstrip("_")
        try:
            shape, null = self.shape(one.annotation, f"{place}.{one.name}", hint, one.metadata, output=True)
        except Unshown:  # GraphQL has no type for it: it is JSON, as in `result`
            shape, null = Shape(JSON, to_jsonable_python), True
        return shape, null or one.default is ABSENT


def _answering(cls: Any, source: Any, converts: Mapping[str, Convert | None]) -> Convert:
    """Make the function that turns a result into an instance of its Strawberry class."""
    get: Any = dict.get if source is None else getattr

    def answer(value: Any) -> Any:
        found = ((name, get(value, name, None), convert) for name, convert in converts.items())
        return cls(**{name: one if one is None or convert is None else convert(one) for name, one, convert in found})

    return answer


def is_typed_dict(type_: Any) -> bool:
    """True for a TypedDict: its values are dictionaries, and Strawberry reads attributes."""
    return not issubclass(type_, BaseModel) and not hasattr(type_, "__dataclass_fields__")


def class_of(name: str, fields: Mapping[str, tuple[Any, Any]], **further: Any) -> type:
    """A class with these fields, for Strawberry to decorate."""
    namespace = {python: field for python, (_, field) in fields.items()} | further
    cls = type(name, (), {"__module__": __name__, **namespace})
    cls.__annotations__ = {python: annotation for python, (annotation, _) in fields.items()}
    return cls


def field_name(python: str, place: str) -> str:
    """The name of a field in the schema. Raises HandlerSchemaError if it cannot be one."""
    name = to_camel_case(python)
    if not NAME.fullmatch(name) or name.startswith("__"):
        raise HandlerSchemaError(
            f"{place}: {python!r} is no name of a GraphQL field; use letters, digits and underscores"
        )
    return name


def _default(value: Any) -> dict[str, Any]:
    return {"default_factory": lambda: list(value)} if isinstance(value, list | tuple) else {"default": value}


def _inner_metadata(annotation: Any) -> tuple[Any, ...]:
    """The metadata within `Annotated[...] | None`."""
    bare, null = without_none(annotation)
    return stripped(bare)[1] if null else stripped(annotation)[1]


def _flat(value: Any) -> tuple[Any, ...]:
    return typing.get_args(value) if typing.get_origin(value) is Literal else (value,)
