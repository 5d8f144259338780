"""DateTime: to clients ISO 8601 in UTC with a Z; in resolvers a datetime, or the ledger's microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

FORM = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - in UTC; with a zone the text of a time takes half as long again
MESSAGE = 'A DateTime is written as in "2030-01-31T09:30:00Z", with a time zone.'


def serialize(value: Any) -> str:
    """The time in UTC to the microsecond. `value` is microseconds since 1970, or a datetime, naive ones in UTC."""
    if type(value) is int:
        return f"{(EPOCH + timedelta(microseconds=value)).isoformat(timespec='microseconds')}Z"
    if not isinstance(value, datetime):
        raise TypeError(f"a DateTime must be a datetime, or microseconds since 1970 (got {type(value).__name__})")
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    text: str = aware.isoformat(timespec="microseconds")
    return text[:-6] + "Z"


def parse(value: object) -> datetime:
    """An aware datetime. Raises GraphQLError for anything else, a time without a zone included."""
    if not isinstance(value, str) or not FORM.fullmatch(value):
        raise GraphQLError(MESSAGE)
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise GraphQLError(MESSAGE) from None


def scalar() -> ScalarDefinition:
    return strawberry.scalar(
        name="DateTime",
        description="A time in ISO 8601 with a time zone, to the microsecond; answers are in UTC.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time.html",
        serialize=serialize,
        parse_value=parse,
    )
