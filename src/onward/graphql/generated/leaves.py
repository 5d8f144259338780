"""Python types that are a scalar of GraphQL."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, NewType
from uuid import UUID

import strawberry
import typing_extensions
from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_jsonable_python
from strawberry.scalars import JSON

from onward.graphql.base import public_error
from onward.graphql.generated.descriptions import bounds
from onward.graphql.generated.scalars import INT, BigInt
from onward.graphql.generated.schema_type import SchemaType, fixed

as_json = partial(to_jsonable_python, by_alias=False)  # as in `result`


def scalar(type_: Any, metadata: Sequence[Any], *, output: bool) -> SchemaType | None:
    """The type of a scalar; None for any other type. An int whose bounds go beyond 32 bits is a BigInt."""
    if isinstance(type_, NewType):
        return fixed(strawberry.ID, str)
    if type_ is int:
        limits = [value for name, value in bounds(metadata).items() if name in ("ge", "gt", "le", "lt")]
        if any(value not in INT and abs(value) > INT.stop for value in limits):
            return fixed(BigInt, int)
        return fixed(int, int, check=INT.__contains__, convert=_small if output else None)
    if type_ in (Any, object, JsonValue) or _is_mapping(type_):
        return SchemaType(JSON, as_json if output else None)
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


def _is_mapping(type_: Any) -> bool:
    origin = typing.get_origin(type_) or type_
    return isinstance(origin, type) and issubclass(origin, Mapping) and not typing_extensions.is_typeddict(origin)


def _small(value: int) -> int:
    if value not in INT:
        words = "A number has more than 32 bits, which is the most of an Int."
        raise public_error(words, "OUTPUT_INVALID")
    return value


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


def by_pydantic(type_: Any, metadata: Sequence[Any], *, output: bool) -> SchemaType | None:
    """The String of a type that pydantic reads from text and writes as text, such as a URL; None for any other."""
    whole: Any = Annotated[type_, *metadata] if metadata else type_
    try:
        adapter = TypeAdapter[Any](whole)
        kinds = {adapter.json_schema(mode=mode).get("type") for mode in ("validation", "serialization")}
    except Exception:  # noqa: BLE001 - pydantic raises errors of many classes for types that it does not know
        return None
    if "string" not in kinds or kinds > {"string", None}:
        return None
    return fixed(str, convert=partial(adapter.dump_python, mode="json") if output else None)
