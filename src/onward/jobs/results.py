"""The results of steps, as the ledger keeps them."""

from __future__ import annotations

from typing import Any

import orjson

from onward.handlers.base import Permanent

RESULT_BYTES = 64_000
JSON_DEPTH_RESERVE = 50  # levels of an answer around a result, of the 254 that JSON is written with


def storable(value: Any) -> Any:
    """The result as it will be read from the ledger. Raises Permanent if it is no JSON, too deep or too large."""
    if value is None:
        return None
    for _ in range(JSON_DEPTH_RESERVE):
        value = [value]
    try:
        text = orjson.dumps(value)[JSON_DEPTH_RESERVE:-JSON_DEPTH_RESERVE]
    except (TypeError, ValueError) as error:
        message = "the result is no JSON, or nested too deeply; return plain values"
        raise Permanent(message, code="RESULT_NOT_JSON") from error
    if len(text) > RESULT_BYTES:
        raise Permanent(f"the result has {len(text)} bytes; {RESULT_BYTES} may be kept", code="RESULT_TOO_LARGE")
    return orjson.loads(text)
