"""Errors of this package, and the errors that leave it as GraphQL errors."""

from __future__ import annotations

from graphql import GraphQLError


class GqlError(Exception):
    """Base class for errors of this package."""


class BadRequest(GqlError):
    """The request cannot be executed; the message and the code are for the caller."""

    def __init__(self, message: str, code: str = "BAD_REQUEST") -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    @property
    def formatted(self) -> dict[str, object]:
        return {"message": self.message, "extensions": {"code": self.code}}


SIGN_IN = "This needs a bearer token, or a session."
TOKEN_EXPIRED = "The bearer token has expired."  # noqa: S105 - a message


class NotAuthenticated(BadRequest):
    """The caller is unknown: the token is missing, has expired or is not valid here."""

    def __init__(self, message: str = "A valid bearer token is needed.") -> None:
        super().__init__(message, "NOT_AUTHENTICATED")


class SchemaError(GqlError):
    """A type of a project's module cannot be merged into the schema; the message names the module."""


class HandlerSchemaError(SchemaError):
    """The schema cannot show a handler; the message names the handler, its parameter or type, and the fix."""


def public_error(message: str, code: str) -> GraphQLError:
    """An error whose message is for the caller and is not masked."""
    return GraphQLError(message, extensions={"code": code})


def check_number(name: str, number: int, most: int, *, least: int = 0) -> None:
    """Raise a public error for a number that the argument of this name cannot have."""
    if not least <= number <= most:
        raise public_error(f"`{name}` must be between {least} and {most:,} (got {number:,}).", "INVALID")


def unavailable() -> GraphQLError:
    """The ledger did not answer a query or a subscription."""
    return public_error("The ledger did not answer in time. Ask again in a while.", "UNAVAILABLE")
