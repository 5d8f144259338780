"""Values of one class that would be read back as another: a union whose classes have the same fields."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from onward.handlers.fields import is_alias


def _other_class(value: Any, found: Any, declared: Collection[type]) -> tuple[type, type] | None:
    """Return the declared class of a part of a value, and the other one that it is read as, if there is one."""
    kinds = type(value), type(found)
    if kinds[0] in declared and kinds[1] in declared and not issubclass(*kinds):
        return kinds
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict) and isinstance(found, dict):
        parts = ((value[key], found[key]) for key in value if key in found)
    elif isinstance(value, list | tuple) and isinstance(found, list | tuple):
        parts = zip(value, found, strict=False)
    elif _has_fields(kinds[1]):
        names = kinds[1].model_fields if issubclass(kinds[1], BaseModel) else [one.name for one in fields(kinds[1])]
        parts = ((getattr(value, name, None), getattr(found, name)) for name in names)
    return next(filter(None, (_other_class(*pair, declared) for pair in parts)), None)


def classes(types: Iterable[Any]) -> set[type]:
    """Return the classes with fields of declared types, and of the types of their fields."""
    return {one for one in _parts(types) if isinstance(one, type) and _has_fields(one)}


def alternatives(types: Iterable[Any]) -> set[type]:
    """Return the classes with fields of unions in the types: a value may be read as any of them."""
    found = set[type]()
    for one in _parts(types):
        if get_origin(one) in (Union, UnionType):
            members = [classes([member]) for member in get_args(one)]
            if sum(map(bool, members)) > 1:
                found.update(*members)
    return found


def _parts(types: Iterable[Any]) -> Iterator[Any]:
    """Yield declared types, the types within them, and those of the fields of their classes."""
    entered, left = set[Any](), list(types)
    while left:
        one = left.pop()
        yield one
        left += get_args(one)
        if is_alias(one) and one not in entered:
            entered.add(one)
            with suppress(NameError):  # a class that it names is not defined yet
                left.append(one.__value__)
        if isinstance(one, type) and one not in entered and _has_fields(one):
            entered.add(one)
            with suppress(NameError):  # imported for type checkers only
                left += get_type_hints(one).values()


def confused(value: Any, found: Any, declared: Collection[type]) -> str | None:
    """Return the words for a part of a value that is read as another class; None if there is none."""
    if (pair := _other_class(value, found, declared)) is None:
        return None
    given, read = (one.__name__ for one in pair)
    words = f"a {given}, which would be read as a {read}: give each a field that tells them apart"
    return f"{words}, as in kind: Literal['a']"


def _has_fields(kind: type) -> bool:
    return is_dataclass(kind) or issubclass(kind, BaseModel)
