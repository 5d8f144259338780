"""Errors for callers: the caller's own mistakes in full, internal errors as an id that is in the log."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError

from onward.graphql.internal_errors import MESSAGE, masked

__all__ = ["MESSAGE", "formatted", "masked", "of_request"]

# graphql-core has the variable and the place of a wrong value in its message alone.
VARIABLE = re.compile(r"Variable '\$(?P<name>\w+)' has invalid value(?: at (?P<path>(?:\.\w+|\[\d+\])+))?: ", re.ASCII)
PLACE = re.compile(r"\w+", re.ASCII)
# It writes a value as Python does, and cuts long and deep ones short.
IN_PYTHON = re.compile(r"(not to be |value: |[Ff]ound: )(True|False|None|[\[{].*?)(\.?)$", re.DOTALL)
MAX_RESPELLED = 1_000  # characters of a message


def formatted(errors: Sequence[GraphQLError], most: int) -> list[dict[str, Any]]:
    """Return the first `most` errors in their public form. Drop all tracebacks.

    Their frames would keep the answer, as far as it was built, in cycles for the garbage collector.
    """
    shown = [_formatted(error) for error in errors[:most]]
    for error in errors:
        _drop_tracebacks(error)
    return shown


def of_request(error: GraphQLError) -> dict[str, Any]:
    """The public form of an error that stops a request, with a code; for a variable's value, its name and the place."""
    shown = dict(error.formatted)
    shown["message"] = _in_json(error.message)
    extensions: dict[str, Any] = {"code": "BAD_REQUEST"}
    if (found := VARIABLE.match(error.message)) is not None:
        extensions |= {"variable": found["name"], "path": PLACE.findall(found["path"] or "")}
    shown["extensions"] = {**extensions, **(error.extensions or {})}
    return shown


def _in_json(message: str) -> str:
    """Return the message with the value at its end as callers write it: true, null, {"a": 1}."""
    found = IN_PYTHON.search(message) if len(message) <= MAX_RESPELLED else None
    if found is None:
        return message
    try:
        value = json.dumps(ast.literal_eval(found[2]), ensure_ascii=False)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return message  # it is cut short, or written as in a document
    return f"{message[: found.start(2)]}{value}{found[3]}"


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


def _drop_tracebacks(error: BaseException) -> None:
    """Drop the tracebacks of an error and of those that led to it."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        one = left.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            left += one.__cause__, one.__context__, getattr(one, "original_error", None)
            left += getattr(one, "exceptions", ())  # of a group
