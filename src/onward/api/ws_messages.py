"""Messages of graphql-transport-ws, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onward.api.base import ApiError
from onward.graphql.base import BadRequest
from onward.graphql.execution.limits import Limits
from onward.graphql.execution.requests import load

PROTOCOL = "graphql-transport-ws"
ID_LENGTH = 256


class Closing(ApiError):
    """The socket has to be closed, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def decode(text: str | None, limits: Limits) -> dict[str, Any]:
    """The message in a frame; None for a binary one. Raises Closing."""
    if text is None:
        raise Closing(4400, "A message must be text")
    if len(text) > limits.body_bytes:
        raise Closing(4400, "The message is too large")
    try:
        message = load(text, limits.json_depth)
    except BadRequest as error:
        raise Closing(4400, error.message) from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Closing(4400, "A message must be a JSON object with a type")
    payload = message.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise Closing(4400, "A payload must be an object")
    return message


def id_of(message: Mapping[str, Any]) -> str:
    """The id of an operation. Raises Closing."""
    id_ = message.get("id")
    if not isinstance(id_, str) or not 0 < len(id_) <= ID_LENGTH:
        raise Closing(4400, f"An id must be a string of 1 to {ID_LENGTH} characters")
    return id_


def token_in(payload: Mapping[str, Any]) -> str | None:
    """The bearer token of a connection_init, written as in HTTP's header: {"Authorization": "Bearer ..."}."""
    for name, value in payload.items():
        if name.lower() == "authorization":
            scheme, _, token = value.partition(" ") if isinstance(value, str) else ("", "", "")
            return token.strip() if scheme.lower() == "bearer" else ""
    return None
