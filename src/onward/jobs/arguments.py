"""The arguments of a job's first step, from the parameters that the ledger keeps."""

from __future__ import annotations

from typing import Any

from onward.handlers.base import Handler, InvalidParameters


def arguments_of(handler: Handler, params: dict[str, Any], version: int) -> dict[str, Any]:
    """Return the arguments of the first step, upgraded from an older release's. Raises InvalidParameters."""
    if version < handler.version and handler.upgrade is not None:
        params = handler.upgrade(version, params)
    try:
        return handler.arguments(params)
    except InvalidParameters as error:
        if version <= handler.version:
            raise
        message = "a newer release accepted it; retry it when that one runs everywhere"
        raise InvalidParameters([("", message), *error.errors]) from error
