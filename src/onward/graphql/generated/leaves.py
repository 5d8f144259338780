"""Python types that are a scalar of GraphQL, and the words about those that are nothing of it."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, NewType
from uuid import UUID

import strawberry
from pydantic import JsonValue, SecretBytes, SecretStr, TypeAdapter
from pydantic_core import to_jsonable_python
from strawberry.scalars import JSON

from onward.graphql.base import public_error
from onward.graphql.generated.fields import bounds
from onward.graphql.generated.scalars import INT, BigInt
from onward.graphql.generated.shapes import Shape, fixed

MAPPINGS = (dict, typing.get_origin(Mapping[str, Any]))


def scalar(type_: Any, metadata: Sequence[Any], *, output: bool) -> Shape | None:
    """The shape of a scalar; None for any other type. An int whose bounds go beyond 32 bits is a BigInt."""
    if isinstance(type_, NewType):
        return fixed(strawberry.ID, str)
    if type_ is int:
        limits = [value for name, value in bounds(metadata).items() if name in ("ge", "gt", "le", "lt")]
        if any(value not in INT and abs(value) > INT.stop for value in limits):
            return fixed(BigInt, int)
        return fixed(int, int, check=INT.__contains__, convert=_small if output else None)
    if type_ in (Any, object, JsonValue, *MAPPINGS) or typing.get_origin(type_) in MAPPINGS:
        return Shape(JSON, to_jsonable_python if output else None)
    if type_ is datetime:
        convert = _aware if output else None
        return fixed(datetime, datetime, convert=convert, check=lambda value: value.tzinfo is not None)
    return _SCALARS.get(type_) if isinstance(type_, type) else None


_SCALARS = {
    bool: fixed(bool, bool),
    str: fixed(str, str),
    float: fixed(float, int, float, check=math.isfinite),
    Decimal: fixed(Decimal, Decimal, check=Decimal.is_finite),
    date: fixed(date, date, check=lambda value: not isinstance(value, datetime)),
    time: fixed(time, time),
    timedelta: fixed(timedelta, timedelta),
    UUID: fixed(UUID, UUID),
}


def _small(value: int) -> int:
    if value not in INT:
        words = "A number has more than 32 bits, which is the most of an Int."
        raise public_error(words, "OUTPUT_INVALID")
    return value


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def by_pydantic(type_: Any) -> Shape | None:
    """The scalar of a class that pydantic reads from text or a number, such as a URL."""
    if not isinstance(type_, type) or issubclass(type_, bytes | SecretStr | SecretBytes):
        return None
    try:
        written = TypeAdapter(type_).json_schema(mode="serialization").get("type")
    except Exception:  # noqa: BLE001 - pydantic raises errors of many classes for types that it does not know
        return None
    return fixed(str, convert=str) if written == "string" else None


def unshown(type_: Any) -> str:
    """Say why a type cannot be in an input, and what to do."""
    shown = getattr(type_, "__name__", None) if isinstance(type_, type) else None
    shown = shown or str(type_).replace("typing.", "")
    if isinstance(type_, type) and issubclass(type_, SecretStr | SecretBytes):
        return f"{shown} is written as asterisks; declare it str, and name the parameter in secret="
    if type_ is bytes:
        return "GraphQL has no bytes; declare it str, and send Base64"
    if typing.get_origin(type_) in (typing.Union, types.UnionType):
        return f"GraphQL has no input that is one of several types ({shown}); choose one, or Any for JSON"
    if typing.get_origin(type_) is tuple:
        return f"GraphQL has no tuple of different types ({shown}); use a dataclass"
    if typing.get_origin(type_) is Literal:
        return f"GraphQL has no values of several types ({shown}); use texts alone, or numbers alone"
    return f"GraphQL has no type for {shown}; use a dataclass, a pydantic model, or Any for JSON"
