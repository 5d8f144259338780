"""The results of steps, as the ledger keeps them."""

from __future__ import annotations

from dataclasses import is_dataclass
from datetime import date, time
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

from onward.handlers.base import Permanent
from onward.handlers.json_values import fault

RESULT_BYTES = 64_000
JSON_DEPTH_RESERVE = 50  # levels of an answer around a result, of the 254 that JSON is written with


def storable(value: Any) -> Any:
    """The result as it will be read from the ledger. Raises Permanent if it is no JSON, too deep or too large."""
    if value is None:
        return None
    wrapped = value
    for _ in range(JSON_DEPTH_RESERVE):
        wrapped = [wrapped]
    try:
        text = orjson.dumps(wrapped)[JSON_DEPTH_RESERVE:-JSON_DEPTH_RESERVE]
    except (TypeError, ValueError) as error:
        where, words = fault(value, "result", _is_written) or ("result", "is no JSON, or nested too deeply")
        raise Permanent(f"{where} {words}; return plain values", code="RESULT_NOT_JSON") from error
    # NaN and infinity are written as null without a word.
    if b"null" in text and (found := fault(value, "result", _is_written)) is not None:
        raise Permanent(f"{found[0]} {found[1]}; return a finite number or None", code="RESULT_NOT_JSON")
    if len(text) > RESULT_BYTES:
        raise Permanent(f"the result has {len(text)} bytes; {RESULT_BYTES} may be kept", code="RESULT_TOO_LARGE")
    return orjson.loads(text)


def _is_written(value: Any) -> bool:
    """True if orjson writes a value of this type."""
    return isinstance(value, date | time | UUID | Enum) or (is_dataclass(value) and not isinstance(value, type))
