"""Errors for callers: the caller's own mistakes in full, internal errors as an id that is in the log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError

from onward.graphql.internal_errors import MESSAGE, masked

__all__ = ["MESSAGE", "formatted", "masked", "of_request"]

# graphql-core has the variable and the place of a wrong value in its message alone.
VARIABLE = re.compile(r"Variable '\$(?P<name>\w+)' has invalid value(?: at (?P<path>(?:\.\w+|\[\d+\])+))?: ", re.ASCII)
PLACE = re.compile(r"\w+", re.ASCII)


def formatted(errors: Sequence[GraphQLError], most: int) -> list[dict[str, Any]]:
    """Return the first `most` errors in their public form."""
    return [_formatted(error) for error in errors[:most]]


def of_request(error: GraphQLError) -> dict[str, Any]:
    """The public form of an error that stops a request, with a code; for a variable's value, its name and the place."""
    shown = dict(error.formatted)
    extensions: dict[str, Any] = {"code": "BAD_REQUEST"}
    if (found := VARIABLE.match(error.message)) is not None:
        extensions |= {"variable": found["name"], "path": PLACE.findall(found["path"] or "")}
    shown["extensions"] = {**extensions, **(error.extensions or {})}
    return shown


def _formatted(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    if cause is None or error.path is None:  # without a path it is about the request: nothing of ours has run
        return dict(error.formatted)
    shown = masked(cause)
    if error.locations:
        shown["locations"] = [location.formatted for location in error.locations]
    shown["path"] = error.path
    return shown
