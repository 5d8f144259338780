"""The results of steps, and the chunks that they emit, as the ledger keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from onward.handlers.base import Permanent
from onward.handlers.classes import classes, confused
from onward.handlers.json_values import MAX_DEPTH, fault
from onward.handlers.output import Output
from onward.jobs.encryption import redact, redact_value

RESULT_BYTES = 64_000
CHUNK_BYTES = 32_000  # of a job's output, as JSON
FAULTS = 5  # places that a message names
JSON_DEPTH_RESERVE = 254 - MAX_DEPTH  # levels of an answer around a result, of those that JSON is written with


class Kind(NamedTuple):
    """A kind of value that a handler gives."""

    name: str
    verb: str  # by which a handler gives one
    bytes: int  # that may be kept of one, as JSON

    @property
    def code(self) -> str:
        return self.name.upper()


RESULT = Kind("result", "return", RESULT_BYTES)
CHUNK = Kind("chunk", "emit", CHUNK_BYTES)


def storable(value: Any, output: Output | None = None) -> Any:
    """Return the result as it will be read from the ledger; `output`, if need be, tells pydantic its type.

    Raises Permanent if it is no JSON, too deep or too large, or does not fit the handler's `output`.
    """
    if value is None:
        return None
    if output is None:
        return orjson.loads(_json(value, None, RESULT))
    try:
        stored = _stored(value, output)
        if not output.types or output.restores(stored, value):
            return stored
    except Permanent:
        if (written := _written(value, output)) is not None:
            return written
        raise
    if (written := _written(value, output)) is not None:
        return written
    if wrong := output.faults(stored):
        places = "; ".join(f"{place}: {words}" for place, words in wrong[:FAULTS])
        message = f"the result is no {output.name}, which the handler declares: {places}"
        raise Permanent(message, code="RESULT_INVALID")
    if output.types and (words := confused(value, output.read(stored), classes(output.types))):
        raise Permanent(f"the result has {words}", code="RESULT_INVALID")
    return stored


def chunk_json(chunk: Any, secrets: Sequence[str]) -> str:
    """Return a chunk of output as JSON, without secrets. Raises Permanent if it is no JSON, too deep or too large."""
    if chunk is None:
        raise Permanent("the chunk is None; emit text, or any other JSON but null", code="CHUNK_NOT_JSON")
    if secrets:
        chunk = redact(chunk, secrets) if isinstance(chunk, str) else redact_value(_stored(chunk, None, CHUNK), secrets)
    return _json(chunk, None, CHUNK).decode()


def _written(value: Any, output: Output) -> Any:
    """Return the result as pydantic writes it by the annotation; None if the value is not of that type."""
    try:
        stored = _stored(output.written(value), None)
    except (ValueError, TypeError, RecursionError, Permanent):
        return None
    return stored if output.restores(stored, value) else None


def _stored(value: Any, output: Output | None, kind: Kind = RESULT) -> Any:
    """Return the value after a round trip through JSON. Raises as `_json` does."""
    return orjson.loads(_json(value, output, kind))


def _json(value: Any, output: Output | None, kind: Kind) -> bytes:
    """Return the value as JSON. Raises Permanent if it is not JSON, too deep or too large."""
    typed = output is not None and bool(output.types)
    is_written = _is_written_typed if typed else _is_written
    default = _plain if typed else None
    try:
        text = orjson.dumps(value, default=default)
        if text.count(b"[") + text.count(b"{") > MAX_DEPTH:  # it may be nested that deeply: let orjson measure it
            wrapped = value
            for _ in range(JSON_DEPTH_RESERVE):
                wrapped = [wrapped]
            orjson.dumps(wrapped, default=default)
    except (TypeError, ValueError) as error:
        where, words = fault(value, kind.name, is_written) or (kind.name, "is no JSON, or nested too deeply")
        raise Permanent(f"{where} {words}; {kind.verb} plain values", code=f"{kind.code}_NOT_JSON") from error
    # NaN and infinity are written as null without a word.
    if b"null" in text and (found := fault(value, kind.name, is_written)) is not None:
        words = f"{found[0]} {found[1]}; {kind.verb} a finite number"
        raise Permanent(words, code=f"{kind.code}_NOT_JSON")
    if len(text) > kind.bytes:
        words = f"the {kind.name} has {len(text)} bytes; {kind.bytes} may be kept"
        raise Permanent(words, code=f"{kind.code}_TOO_LARGE")
    return text


def _is_written(value: Any) -> bool:
    """Return whether orjson writes a value of this type."""
    return isinstance(value, date | time | UUID | Enum) or (is_dataclass(value) and not isinstance(value, type))


def _is_written_typed(value: Any) -> bool:
    """Return whether a value of this type is written in a result of a declared type."""
    return _is_written(value) or isinstance(value, BaseModel | Decimal | timedelta | set | frozenset)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return dict(value)
    if isinstance(value, Decimal | timedelta):
        return to_jsonable_python(value)
    if isinstance(value, set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
