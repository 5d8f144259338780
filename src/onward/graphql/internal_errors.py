"""Internal errors: the log has them under an id, and the caller gets the id alone."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from graphql import GraphQLError

from onward.graphql.base import BadRequest, public_error
from onward.telemetry import logger

MESSAGE = "Something went wrong on our side"


def masked(error: BaseException) -> dict[str, Any]:
    """Log an unexpected exception under an id, and return its public form."""
    id_ = secrets.token_hex(8)
    logger("gql").error("a resolver failed", error_id=id_, exc_info=error)
    return {"message": MESSAGE, "extensions": {"code": "INTERNAL", "id": id_}}


@contextmanager
def hidden() -> Iterator[None]:
    """Raise errors in their public form, for servers that would show an exception's own text."""
    try:
        yield
    except GraphQLError:
        raise
    except BadRequest as error:
        raise public_error(error.message, error.code) from None
    except Exception as error:  # noqa: BLE001 - it is masked and logged
        shown = masked(error)
        raise GraphQLError(shown["message"], extensions=shown["extensions"]) from None
