"""Scalars of parameters and results that GraphQL and Strawberry have none for."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import NewType

import strawberry
from graphql import GraphQLError
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from strawberry.types.scalar import ScalarDefinition

INT = range(-(2**31), 2**31)
BIG_INT = range(-(2**63), 2**63)
DURATION = re.compile(r"[+-]?P(?=.)(\d+W)?(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+([.,]\d{1,6})?S)?)?", re.ASCII)
DIGITS = re.compile(r"-?\d{1,19}", re.ASCII)

BigInt = NewType("BigInt", int)


def _duration(value: object) -> timedelta:
    """Read a duration. Raises GraphQLError."""
    try:
        if isinstance(value, str) and DURATION.fullmatch(value):
            return TypeAdapter(timedelta).validate_python(value)
    except ValidationError:  # longer than a timedelta can be
        pass
    raise GraphQLError('A Duration is written as in "P1DT2H30M" (ISO 8601): weeks, days, hours, minutes, seconds.')


def _big_int(value: object) -> int:
    """An integer of 64 bits, from a number or its digits. Raises GraphQLError."""
    found = int(value) if isinstance(value, str) and DIGITS.fullmatch(value) else value
    if type(found) is not int or found not in BIG_INT:
        raise GraphQLError("A BigInt is a whole number of at most 64 bits, or a string of its digits.")
    return found


def definitions() -> dict[object, ScalarDefinition]:
    """The scalars by their Python type."""
    return {
        timedelta: strawberry.scalar(
            name="Duration",
            description='A span of time in ISO 8601, as in "P1DT2H30M".',
            specified_by_url="https://scalars.graphql.org/chillicream/duration.html",
            serialize=to_jsonable_python,
            parse_value=_duration,
        ),
        BigInt: strawberry.scalar(
            name="BigInt",
            description="A whole number of up to 64 bits: given as a number or a string, answered as a string.",
            serialize=str,
            parse_value=_big_int,
        ),
    }
