"""A handler's parameters as options of the command line, as in `--order A-17`."""

from __future__ import annotations

import json
from collections import abc, deque
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import JsonValue

from onward.handlers.base import Handler
from onward.handlers.fields import Field, fields_of, members_of, stripped, without_none

LISTS = (list, tuple, set, frozenset, deque, abc.Sequence, abc.Set)


class BadOption(Exception):
    """An option of the command line is wrong."""


def parameters(handler: Handler, given: Sequence[str]) -> dict[str, Any]:
    """Turn `--name value`, `--name=value`, `--flag` and `--no-flag` into parameters. Raises BadOption.

    A value is text where the parameter takes this text, or else JSON; a repeated option is a list.
    """
    fields = {field.name: field for field in fields_of(handler.parameters)}
    words = list(given)
    found: dict[str, list[Any]] = {}
    while words:
        option, equals, value = words.pop(0).partition("=")
        name = option.removeprefix("--").replace("-", "_")
        off = name.removeprefix("no_") if name not in fields else ""
        if not option.startswith("--") or not (name in fields or off in fields):
            known = ", ".join(option_of(field) for field in fields) or "none"
            raise BadOption(f"{handler.name} has no parameter {option!r}: its options are {known}")
        if (not equals and _is_flag(fields[off or name])) or off:
            found.setdefault(off or name, []).append(not off)
        elif not equals and not words:
            raise BadOption(f"{option} needs a value")
        else:
            found.setdefault(name, []).append(value if equals else words.pop(0))
    return {name: _value(handler, fields[name], values) for name, values in found.items()}


def option_of(name: str) -> str:
    """Return the option of a parameter."""
    return f"--{name.replace('_', '-')}"


def options(handler: Handler) -> Iterator[tuple[str, str]]:
    """Return each option of a handler, with a description."""
    described = dict(handler.mutation.arguments) if handler.mutation else {}
    for field in fields_of(handler.parameters):
        words = field.description or described.get(field.name, "") or type_name(field.annotation)
        yield option_of(field.name), words
        if _is_flag(field):
            yield f"--no-{option_of(field.name)[2:]}", words


def choices(handler: Handler, option: str) -> list[str]:
    """Return the values of an option; none unless they are few."""
    name = option.removeprefix("--").replace("-", "_")
    for field in fields_of(handler.parameters):
        if field.name == name:
            return [str(one) for one in _choices(field.annotation)]
    return []


def type_name(annotation: Any) -> str:
    """Return the type's name in a list of options."""
    type_ = stripped(annotation)[0]
    return type_.__name__ if isinstance(type_, type) and not get_args(type_) else str(type_).replace("typing.", "")


def _choices(annotation: Any) -> list[Any]:
    type_ = stripped(without_none(stripped(annotation)[0])[0])[0]
    if get_origin(type_) is Literal:
        return list(get_args(type_))
    if isinstance(type_, type) and issubclass(type_, Enum):
        return [member.value for member in type_]
    inner = get_args(type_)
    return _choices(inner[0]) if len(inner) == 1 else []


def _is_flag(field: Field) -> bool:
    return without_none(stripped(field.annotation)[0])[0] is bool


def _takes_anything(annotation: Any) -> bool:
    members = [stripped(one)[0] for one in members_of(stripped(annotation)[0])]
    return any(one in (Any, object, JsonValue) for one in members)


def _value(handler: Handler, field: Field, texts: Sequence[Any]) -> Any:
    """Return the parameter's value that these words mean; a wrong one in the form with the best errors."""
    read = [_read(text) for text in texts]
    forms: list[Any] = [list(texts), read]
    if len(texts) == 1:
        forms = [texts[0], read[0], *forms]
    if _takes_anything(field.annotation):
        forms = forms[1:]
    fitting = next((form for form in forms if handler.params.accepts(field.name, form)), forms)
    if fitting is not forms:
        return fitting
    type_ = without_none(stripped(field.annotation)[0])[0]
    is_list = get_origin(type_) in LISTS or type_ in LISTS
    inner = get_args(type_)[:1] if is_list else (type_,)
    best = list(texts) if inner and str in members_of(stripped(inner[0])[0]) else read
    return best if is_list or len(best) > 1 else best[0]


def _read(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
