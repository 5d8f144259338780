"""What callers are told of errors: their own mistakes in full, ours by an id that is in the log."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from graphql import GraphQLError

from onward.telemetry import logger

WORDS = "Something went wrong on our side"


def formatted(errors: Sequence[GraphQLError], most: int) -> list[dict[str, Any]]:
    """At most so many errors, as they leave."""
    return [_formatted(error) for error in errors[:most]]


def _formatted(error: GraphQLError) -> dict[str, Any]:
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    if cause is None or error.path is None:  # without a path it is about the request: nothing of ours has run
        return dict(error.formatted)
    told = masked(cause)
    if error.locations:
        told["locations"] = [location.formatted for location in error.locations]
    told["path"] = error.path
    return told


def masked(error: BaseException) -> dict[str, Any]:
    """What is said of an exception that nobody expected; it is in the log under the id."""
    id_ = secrets.token_hex(8)
    logger("gql").error("a resolver failed", error_id=id_, exc_info=error)
    return {"message": WORDS, "extensions": {"code": "INTERNAL", "id": id_}}
