"""The value that one step of a sequence hands to the next, as far as the annotations of both tell."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

# Only classes that JSON keeps apart. A float may be a whole number, and True is an int: no number excludes another.
KINDS: dict[Any, str] = {str: "text", bool: "number", int: "number", float: "number", list: "list", dict: "object"}


def check_handed_on(steps: tuple[Callable[..., Any], ...]) -> None:
    """Refuse a step that cannot take the result of the one before it. Raises TypeError.

    Only where both annotations are plain classes; any other type, or a decorated function, may do as it says.
    """
    for giver, taker in pairwise(steps):
        returned = _annotation(giver, "return", inspect.signature(giver).return_annotation)
        value = list(inspect.signature(taker).parameters.values())[1]
        taken = _annotation(taker, value.name, value.annotation)
        if {returned, taken} <= KINDS.keys() and KINDS[returned] != KINDS[taken]:
            raise TypeError(
                f"{taker.__name__} takes {value.name}: {taken.__name__}, but {giver.__name__} before it returns"
                f" {returned.__name__}: write one type for both"
            )


def _annotation(function: Callable[..., Any], name: str, annotation: Any) -> Any:
    """Return the class of an annotation, that of list[int] being list; None for one that does not tell."""
    if annotation is inspect.Signature.empty or hasattr(function, "__wrapped__"):
        return None
    try:
        holder = SimpleNamespace(__annotations__={name: annotation})
        found = typing.get_type_hints(holder, getattr(function, "__globals__", {}), include_extras=True)[name]
    except Exception:  # noqa: BLE001 - imported for type checkers only, or no type: nothing is known of it
        return None
    found = typing.get_origin(found) or found
    return found if isinstance(found, type) else None
