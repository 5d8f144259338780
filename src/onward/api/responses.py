"""Responses of `/graphql` over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson
from starlette.background import BackgroundTasks
from starlette.responses import Response

from onward.api.base import MethodNotAllowed, status_of
from onward.api.negotiation import Media, names_json
from onward.api.rates import TooManyRequests
from onward.graphql.base import BadRequest
from onward.graphql.execution.masking import masked
from onward.graphql.execution.operations import Invalid

PRIVATE = MappingProxyType({"Cache-Control": "private, no-store"})  # no cache may keep what one viewer sees
EXTRA_HEADERS = MappingProxyType(
    {
        401: {"WWW-Authenticate": "Bearer"},
        408: {"Connection": "close"},
        413: {"Connection": "close"},
    }
)


def answer(content: Any, status: int, media: Media, background: BackgroundTasks | None = None) -> Response:
    """Return the content as JSON, or a 500 where a resolver returned a value that is not JSON."""
    try:
        body = orjson.dumps(content)
    except TypeError as error:
        body, status = orjson.dumps({"errors": [masked(error)]}), 500
    kind = Media.JSON if media is Media.EVENTS else media
    later = background if background and background.tasks else None
    return Response(body, status, PRIVATE, kind.value, later)


def invalid(found: Invalid, media: Media, headers: Mapping[bytes, bytes]) -> Response:
    """The response without data. 400, but 200 for clients that ask for application/json by name.

    Such clients read a GraphQL response from a 200 only.
    """
    legacy = media is Media.JSON and names_json(headers.get(b"accept"))
    status = status_of(found.error) if found.error else (200 if legacy else 400)
    return answer(found.response, status, media)


def refusal(error: BadRequest, media: Media) -> Response:
    """The response to a request that is not executed."""
    status = status_of(error)
    response = answer({"errors": [error.formatted]}, status, media)
    response.headers.update(EXTRA_HEADERS.get(status, {}))
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = error.allowed
    if isinstance(error, TooManyRequests):
        response.headers["Retry-After"] = str(error.wait_s)
    return response
