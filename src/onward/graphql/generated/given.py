"""The input of a handler's mutation that a job's stored parameters were, or could have been."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from pydantic_core import to_jsonable_python
from strawberry.utils.str_converters import to_camel_case

from onward.graphql.generated.types import LISTS
from onward.handlers.base import Handler
from onward.handlers.fields import Field, fields_of, has_fields, is_root_model, root_of, stripped, without_none

SAFE_INTEGERS = 2**53  # beyond it a number of JavaScript loses digits, and a text of them is as good


def input_of(handler: Handler, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input by the names of the schema, without secrets."""
    shown = [one for one in fields_of(handler.parameters) if one.name not in handler.secret]
    return _object(shown, params)


def secrets_of(handler: Handler) -> list[str]:
    """Return the fields of the input that are secret, in order."""
    return [to_camel_case(one.name) for one in fields_of(handler.parameters) if one.name in handler.secret]


def _object(fields: Sequence[Field], stored: Mapping[str, Any]) -> dict[str, Any]:
    return {to_camel_case(one.name): _value(one.annotation, stored[one.name]) for one in fields if one.name in stored}


def _value(annotation: Any, stored: Any) -> Any:
    type_, _ = stripped(without_none(stripped(annotation)[0])[0])
    if is_root_model(type_):
        return _value(root_of(type_), stored)
    if isinstance(type_, type) and issubclass(type_, Enum):
        return next((one.name for one in type_ if to_jsonable_python(one.value) == stored), None)
    if isinstance(stored, list) and (typing.get_origin(type_) or type_) in LISTS:
        inner = next(iter(typing.get_args(type_)), Any)
        return [_value(inner, one) for one in stored]
    if isinstance(stored, dict) and has_fields(type_):
        return _object(fields_of(type_), stored)
    if type(stored) is int and type_ is int and abs(stored) >= SAFE_INTEGERS:
        return str(stored)
    return stored
