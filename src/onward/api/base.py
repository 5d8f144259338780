"""Errors of this package, and the HTTP status of each."""

from __future__ import annotations

from types import MappingProxyType

from onward.graphql.base import BadRequest

REASON_BYTES = 123  # of a close, in its frame (RFC 6455, 5.5)


def close_reason(text: str) -> str:
    """Return as much of the text as the frame of a close holds."""
    return text.encode("utf-8", "replace")[:REASON_BYTES].decode("utf-8", "ignore")


class ApiError(Exception):
    """Base class for errors of this package."""


class HttpError(ApiError, BadRequest):
    """Answers the request with this HTTP status before anything is executed."""

    def __init__(self, status: int, message: str, code: str = "BAD_REQUEST") -> None:
        BadRequest.__init__(self, message, code)
        self.status = status


class MethodNotAllowed(HttpError):
    """The method is not among those `allowed` here."""

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(405, message, "METHOD_NOT_ALLOWED")
        self.allowed = allowed


class Disconnected(ApiError):
    """The client has closed the connection."""


_STATUS_OF_CODE = MappingProxyType(
    {
        "NOT_AUTHENTICATED": 401,
        "DOCUMENT_NOT_TRUSTED": 403,
        "PERSISTED_QUERY_NOT_FOUND": 404,
        "TIMEOUT": 503,
    }
)


def status_of(error: BadRequest) -> int:
    """Return the HTTP status of an error that the schema raised, or of one that chose its own."""
    return error.status if isinstance(error, HttpError) else _STATUS_OF_CODE.get(error.code, 400)
