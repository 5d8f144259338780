"""What can go wrong between a caller and the schema, and how it is said."""

from __future__ import annotations

from graphql import GraphQLError


class GqlError(Exception):
    """The root of what this room raises."""


class BadRequest(GqlError):
    """The request is answered with an HTTP status of 400 and above before anything is executed."""

    def __init__(self, status: int, message: str, code: str = "BAD_REQUEST") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code

    @property
    def formatted(self) -> dict[str, object]:
        return {"message": self.message, "extensions": {"code": self.code}}


TOKEN_EXPIRED = "The bearer token has expired."  # noqa: S105 - a message


class NotAuthenticated(BadRequest):
    """Who is asking could not be told: the token is missing, has run out or is not ours."""

    def __init__(self, message: str = "A valid bearer token is needed.") -> None:
        super().__init__(401, message, "NOT_AUTHENTICATED")


class SchemaError(GqlError):
    """A further module's types cannot be merged into the schema; the message names the module."""


def public_error(message: str, code: str) -> GraphQLError:
    """An error whose words are meant for the caller; they leave as they are."""
    return GraphQLError(message, extensions={"code": code})


def unavailable() -> GraphQLError:
    """The ledger did not answer a query or a subscription."""
    return public_error("The ledger did not answer in time. Ask again in a while.", "UNAVAILABLE")
