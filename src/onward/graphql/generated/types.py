"""Strawberry types made from Python types: of parameters for inputs, of results for answers.

The parts of one schema share a `Types`, which makes each type once and refuses two of one name.
"""

from __future__ import annotations

import typing
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from enum import Enum
from types import NoneType
from typing import Any, Literal

from onward.graphql.generated.answers import answer_type
from onward.graphql.generated.enums import Enums
from onward.graphql.generated.inputs import input_type
from onward.graphql.generated.leaves import by_pydantic, scalar
from onward.graphql.generated.names import Names
from onward.graphql.generated.schema_type import SchemaType
from onward.graphql.generated.unshown import Unshown, unshown
from onward.handlers.fields import has_fields, is_alias, is_root_model, root_of, stripped, without_none

LISTS = (list, tuple, set, frozenset, deque, Sequence, AbstractSet)


class Types:
    """The types of one schema; `known` are the project's own by name, which describe classes of that name."""

    def __init__(self, known: Mapping[str, type] | None = None) -> None:
        self.names = Names()
        self._enums = Enums(self.names)
        self._known = dict(known or {})
        self._made: dict[tuple[Any, bool], SchemaType] = {}
        self._open: list[Any] = []

    def of(
        self, annotation: Any, place: str, hint: str, metadata: Sequence[Any] = (), *, output: bool = False
    ) -> tuple[SchemaType, bool]:
        """The type for a Python type, and whether it may be null. Raises HandlerSchemaError where there is none."""
        if is_alias(annotation):
            with self._opened(annotation, place):
                return self.of(annotation.__value__, place, hint, metadata, output=output)
        type_, further = stripped(annotation)
        metadata = (*metadata, *further)
        bare, null = without_none(type_)
        if bare is NoneType:
            raise Unshown(f"{place}: {unshown(bare)}")
        type_ = bare
        if null:
            found, _ = self.of(type_, place, hint, metadata, output=output)
            return found, True
        if is_root_model(type_):
            root, null = self.of(root_of(type_), place, hint, output=output)
            return (root.unwrapped() if output else root), null
        made = self._leaf(type_, place, hint, metadata, output=output)
        if made is None and (origin := typing.get_origin(type_) or type_) in LISTS:
            made = self._list(origin, typing.get_args(type_), place, hint, output=output)
        if made is None and has_fields(type_):
            made = self._object(type_, place, output=output)
        if made is None:
            made = by_pydantic(type_, metadata, output=output)
        if made is None:
            raise Unshown(f"{place}: {unshown(type_)}")
        return made, False

    def _leaf(self, type_: Any, place: str, hint: str, metadata: Sequence[Any], *, output: bool) -> SchemaType | None:
        if isinstance(type_, type) and issubclass(type_, Enum):
            return self._enums.of_class(type_, place)
        if typing.get_origin(type_) is Literal:
            return self._enums.of_literal(type_, place, hint)
        return scalar(type_, metadata, output=output)

    def _list(self, origin: Any, args: tuple[Any, ...], place: str, hint: str, *, output: bool) -> SchemaType | None:
        if origin is tuple and args and args[-1] is not Ellipsis and len(set(args)) > 1:
            return None
        found, null = self.of(args[0] if args else Any, place, hint, output=output)
        return found.listed(null=null)

    def _object(self, type_: Any, place: str, *, output: bool) -> SchemaType:
        if output and (known := self._known.get(type_.__name__)) is not None:
            return SchemaType(known)
        made = self._made.get((type_, output))
        if made is None:
            with self._opened(type_, place):
                make = answer_type if output else input_type
                made = self._made[type_, output] = make(self, type_, place)
        return made

    @contextmanager
    def _opened(self, type_: Any, place: str) -> Iterator[None]:
        """Refuse a type within itself."""
        if any(one is type_ for one in self._open):
            raise Unshown(f"{place}: {type_.__name__} holds itself; declare that field as JSON (Any)")
        self._open.append(type_)
        try:
            yield
        finally:
            self._open.pop()
