"""A request for one operation, read strictly out of JSON."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

from onward.graphql.base import BadRequest

# The strings of a JSON text; those followed by a colon are names. Possessive, so that it never goes back.
STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"[ \t\r\n]*+(:?)', re.DOTALL)


PREFIX = "sha256:"


class Request(NamedTuple):
    query: str | None
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    sha256: str | None = None  # of the document; there is this or a query


def load(text: bytes | str, depth: int, what: str = "This") -> Any:
    """Decode JSON; messages name it by `what`.

    Raises BadRequest, also for a duplicate name in one object and for too much depth.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):  # a thousand levels
            raise _too_deep(depth) from None
        place = f"See line {error.lineno}, column {error.colno}."
        raise BadRequest(f"{what} is not JSON in UTF-8, or it has a number of more than 64 bits. {place}") from None
    if not isinstance(value, dict | list):
        return value
    raw = text if isinstance(text, bytes) else text.encode()
    found = _names(value, depth)
    if found is None:
        raise _too_deep(depth)
    if sum(map(len, STRINGS.findall(raw))) != found:
        raise BadRequest("A name appears twice in one object.")
    return value


def _too_deep(depth: int) -> BadRequest:
    return BadRequest(f"This JSON has more than {depth} levels of objects and lists, which is the limit.")


def _names(value: Any, depth: int) -> int | None:
    """Count the names of all objects inside; None if it has more levels."""
    if depth <= 0:
        return None
    count = 0
    if type(value) is dict:
        count = len(value)
        value = value.values()
    for inner in value:
        if type(inner) is dict or type(inner) is list:
            if (found := _names(inner, depth - 1)) is None:
                return None
            count += found
    return count


def read(value: Any) -> Request:
    """The request in a JSON value. Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest("A request must be one JSON object.")
    query = value.get("query")
    variables = value.get("variables")
    name = value.get("operationName")
    extensions = value.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise BadRequest("`extensions` must be an object.")
    named = _hash(value.get("documentId"), extensions or {})
    if not isinstance(query, str) and (query is not None or named is None):
        raise BadRequest("`query` must be a string.")
    if variables is not None and not isinstance(variables, dict):
        raise BadRequest("`variables` must be an object.")
    if name is not None and not isinstance(name, str):
        raise BadRequest("`operationName` must be a string.")
    return Request(query, variables, name, named)


def _hash(document_id: Any, extensions: dict[str, Any]) -> str | None:
    """Return the hash of a document.

    The draft of GraphQL over HTTP has it as "sha256:...", Apollo's clients have an extension.
    """
    if document_id is None:
        persisted = extensions.get("persistedQuery")
        document_id = persisted.get("sha256Hash") if isinstance(persisted, dict) else None
    return document_id.removeprefix(PREFIX).lower() if isinstance(document_id, str) else None
