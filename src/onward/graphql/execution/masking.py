"""Errors for callers: the caller's own mistakes in full, internal errors as an id that is in the log."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError

from onward.telemetry import logger

MESSAGE = "Something went wrong on our side"


def formatted(errors: Sequence[GraphQLError], most: int) -> list[dict[str, Any]]:
    """Return the first `most` errors in their public form."""
    return [_formatted(error) for error in errors[:most]]


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


def masked(error: BaseException) -> dict[str, Any]:
    """Log an unexpected exception under an id, and return its public form."""
    id_ = secrets.token_hex(8)
    logger("gql").error("a resolver failed", error_id=id_, exc_info=error)
    return {"message": MESSAGE, "extensions": {"code": "INTERNAL", "id": id_}}
