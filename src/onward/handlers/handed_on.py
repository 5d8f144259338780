"""The value that one step of a sequence hands to the next, as far as the annotations of both tell."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from onward.handlers.fields import has_fields
from onward.handlers.signatures import signature_of
from onward.handlers.waits import Wait

# Only classes that JSON keeps apart. A float may be a whole number, and True is an int: no number excludes another.
KINDS: dict[Any, str] = {str: "text", bool: "number", int: "number", float: "number", list: "list", dict: "object"}


def check_handed_on(steps: tuple[Callable[..., Any] | Wait, ...]) -> None:
    """Refuse a step that cannot take the result of the one before it, or the payload. Raises TypeError.

    Only where both annotations are plain classes; any other type, or a decorated function, may do as it says.
    """
    for giver, taker in pairwise(one for one in steps if not (isinstance(one, Wait) and one.is_sleep)):
        if isinstance(taker, Wait):
            continue
        value = list(signature_of(taker).parameters.values())[1]
        taken = _annotation(taker, value.name, value.annotation)
        if isinstance(giver, Wait):
            returned, words = _class(giver.type), f"the signal {giver.name} before it has"
        else:
            returned = _annotation(giver, "return", signature_of(giver).return_annotation)
            words = f"{giver.__name__} before it returns"
        if _excludes(returned, taken) or (isinstance(giver, Wait) and has_fields(returned) and taken in KINDS):
            raise TypeError(
                f"{taker.__name__} takes {value.name}: {taken.__name__}, but {words} {returned.__name__}: write one"
                " type for both"
            )


def _excludes(returned: Any, taken: Any) -> bool:
    return {returned, taken} <= KINDS.keys() and KINDS[returned] != KINDS[taken]


def _annotation(function: Callable[..., Any], name: str, annotation: Any) -> Any:
    """Return the class of an annotation, that of list[int] being list; None for one that does not tell."""
    if annotation is inspect.Signature.empty or hasattr(function, "__wrapped__"):
        return None
    try:
        holder = SimpleNamespace(__annotations__={name: annotation})
        found = typing.get_type_hints(holder, getattr(function, "__globals__", {}), include_extras=True)[name]
    except Exception:  # noqa: BLE001 - imported for type checkers only, or no type: nothing is known of it
        return None
    return _class(found)


def _class(annotation: Any) -> Any:
    found = typing.get_origin(annotation) or annotation
    return found if isinstance(found, type) else None
