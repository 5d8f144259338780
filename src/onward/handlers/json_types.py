"""Types that JSON cannot bring back, refused where a handler is declared."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections import abc
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from pathlib import PurePath
from types import NoneType
from typing import Any, Literal, TypeVar
from uuid import UUID

import typing_extensions
from pydantic import (
    EncodedBytes,
    EncodedStr,
    Json,
    JsonValue,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    WrapSerializer,
)

from onward.handlers.fields import (
    REQUIRED,
    Field,
    fields_of,
    has_fields,
    is_alias,
    is_root_model,
    members_of,
    root_of,
    stripped,
)

PLAIN = frozenset({str, int, float, bool, NoneType, None, Any, object, JsonValue, Decimal, UUID})
TIMES = frozenset({datetime, date, time, timedelta})
ENCODERS = (PlainSerializer, WrapSerializer, EncodedBytes, EncodedStr, Json)  # they define their own form in JSON
UNKNOWN = re.compile(r"Unable to generate pydantic-core schema for (.+?)\. Set", re.DOTALL)
ONCE = "{} can be gone through once, and cannot be stored; declare it list"
NO_VALUE = "a class or a function cannot be stored; pass its name"
EXACTLY: dict[Any, str] = {
    type: NO_VALUE,
    abc.Callable: NO_VALUE,
    abc.Iterable: ONCE,
    abc.Iterator: ONCE,
    abc.Generator: ONCE,
    abc.AsyncIterable: ONCE,
    abc.AsyncIterator: ONCE,
    abc.AsyncGenerator: ONCE,
}
SUBCLASSES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bytes, bytearray, memoryview), "JSON has no bytes; declare pydantic's Base64Bytes, or str"),
    (
        (SecretStr, SecretBytes, Secret),
        "{} is stored as asterisks; declare it str, and name the parameter in secret=",
    ),
    ((Flag,), "{} is a Flag, whose combinations are no members; declare it int"),
)


def check_type(annotation: Any, place: str, seen: tuple[Any, ...] = ()) -> None:
    """Refuse a type whose values JSON does not bring back. Raises TypeError with the place and the fix."""
    try:
        type_, metadata = stripped(annotation)
    except NameError:  # an alias of a class further down in the module; the schema and the first job find it
        return
    if any(isinstance(one, ENCODERS) or one is Json for one in metadata) or any(one is annotation for one in seen):
        return
    seen = (*seen, annotation) if is_alias(annotation) else seen
    members = members_of(type_)
    if len(members) > 1:
        for member in members:
            check_type(member, place, seen)
            if NoneType in members and _has_null(kind := stripped(member)[0]):
                fault = f"a member of {_name(kind)} is None, and would be read as no member; give it a text"
                raise TypeError(f"{place}: {fault}")
    elif has_fields(type_) or is_root_model(type_):
        if not any(one is type_ for one in seen):
            _check_fields(type_, place, (*seen, type_))
    elif typing.get_origin(type_) is not None:
        _check_generic(type_, place, seen)
    elif (words := _words(type_)) is not None:
        raise TypeError(f"{place}: {words}")


def unknown(error: Exception) -> str:
    """The words about a type that pydantic does not know."""
    fix = "use a dataclass, a pydantic model, or Any"
    if (found := UNKNOWN.match(str(error))) is not None:
        return f"cannot be stored as JSON: {found[1]} is no type of values; {fix}"
    return f"cannot be checked: {str(error).partition(chr(10))[0]}; {fix}"


def _check_fields(type_: Any, place: str, seen: tuple[Any, ...]) -> None:
    if is_root_model(type_):
        check_type(root_of(type_), place, seen)
        return
    for pseudo in getattr(type_, "__dataclass_fields__", {}).values():
        if pseudo._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]  # noqa: SLF001 - not public
            raise TypeError(f"{place}.{pseudo.name}: an InitVar is not stored; make it a field of {type_.__name__}")
    written = _written_by_itself(type_)
    try:
        fields = fields_of(type_)
    except NameError:  # its class is defined further down in the module; the schema and the first job find it
        return
    for one in fields:
        if one.name not in written and "*" not in written:
            _check_field(type_, one, f"{place}.{one.name}", seen)


def _check_field(owner: Any, one: Field, place: str, seen: tuple[Any, ...]) -> None:
    if any(isinstance(further, ENCODERS) or further is Json for further in one.metadata):
        return
    if one.is_excluded and one.default is REQUIRED:
        raise TypeError(f"{place}: exclude=True keeps it from being stored, and it is required; give it a default")
    config = getattr(owner, "model_config", None) or getattr(owner, "__pydantic_config__", None) or {}
    encoding = config.get("ser_json_bytes", "utf8")
    if stripped(one.annotation)[0] is bytes and encoding != "utf8" and encoding == config.get("val_json_bytes"):
        return
    check_type(one.annotation, place, seen)


def _written_by_itself(type_: Any) -> set[str]:
    """Return the fields that the class writes by serializers of its own; `*` if they are all."""
    decorators = getattr(type_, "__pydantic_decorators__", None)
    if decorators is None:
        return set()
    if decorators.model_serializers:
        return {"*"}
    return {name for one in decorators.field_serializers.values() for name in one.info.fields}


def _check_generic(type_: Any, place: str, seen: tuple[Any, ...]) -> None:
    origin, args = typing.get_origin(type_), typing.get_args(type_)
    if origin in (Literal, typing_extensions.Literal):
        return
    if origin in EXACTLY or (isinstance(origin, type) and issubclass(origin, Secret)):
        raise TypeError(f"{place}: {_words(origin)}")
    if isinstance(origin, type) and issubclass(origin, abc.Mapping) and args:
        _check_key(args[0], place)
    for one in args:
        if one is not Ellipsis:
            check_type(one, place, seen)


def _check_key(annotation: Any, place: str) -> None:
    key = stripped(annotation)[0]
    texts = typing.get_origin(key) is Literal and all(isinstance(one, str) for one in typing.get_args(key))
    enum = isinstance(key, type) and issubclass(key, Enum) and (issubclass(key, int) or _has_texts(key))
    plain = texts or enum or key in {*PLAIN, *TIMES} - {NoneType, None} or _is_path(key) or isinstance(key, TypeVar)
    if not (plain or _is_text(key)):
        raise TypeError(f"{place}: the keys of JSON are text, and {_name(key)} is not read back from it; take str")


def _is_text(key: Any) -> bool:
    """Return whether pydantic writes values of the class as text and reads them, as it does addresses and URLs."""
    if not isinstance(key, type) or issubclass(key, Enum) or not _is_known(key):
        return False
    return bool(TypeAdapter[Any](key).json_schema(mode="serialization").get("type") == "string")


def _words(type_: Any) -> str | None:
    """Return the fault of a type without inner types, and the fix; None if it can be stored and read back."""
    if type_ in EXACTLY:
        return EXACTLY[type_].format(_name(type_))
    # Pydantic judges annotations that are no classes, such as ID and the special forms of typing.
    if type_ in PLAIN or type_ in TIMES or not isinstance(type_, type):
        return None
    for classes, words in SUBCLASSES:
        if issubclass(type_, classes):
            return words.format(_name(type_))
    if issubclass(type_, Enum):
        wrong = not all(isinstance(member.value, str | int | float | None) for member in type_)
        return f"the values of {type_.__name__} must be text or numbers: they become JSON" if wrong else None
    return (
        None if _is_known(type_) else f"{type_.__name__} cannot be stored as JSON; use a dataclass or a pydantic model"
    )


def _is_known(type_: type) -> bool:
    """True if pydantic writes values of the class as JSON and reads them."""
    try:
        adapter = TypeAdapter[Any](type_)
        for mode in ("validation", "serialization"):
            adapter.json_schema(mode=mode)
    except Exception:  # noqa: BLE001 - pydantic raises errors of many classes for types that it does not know
        return False
    return str(adapter.core_schema["type"]) != "is-instance"


def _has_texts(enum: type[Enum]) -> bool:
    return all(isinstance(member.value, str) for member in enum)


def _has_null(type_: Any) -> bool:
    """Return whether a member of the Enum is null in JSON."""
    return isinstance(type_, type) and issubclass(type_, Enum) and any(one.value is None for one in type_)


def _is_path(key: Any) -> bool:
    return isinstance(key, type) and issubclass(key, PurePath)


def _name(type_: Any) -> str:
    return type_.__name__ if isinstance(type_, type) else str(type_).replace("typing.", "")
