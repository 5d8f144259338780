"""A filter by a job's parameter: exact equality with texts, numbers, booleans and null."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import orjson

Scalar: TypeAlias = str | int | float | bool | None

ENCRYPTED = "onward:sealed"  # the only key of the object that stands for a secret value
MAX_FILTERS = 5
MAX_VALUES = 20
MAX_NAME = 200  # characters of a dotted name
MAX_DEPTH = 10  # names in it
MAX_TEXT = 1_000  # characters of a text that is looked for


class ParamFilter(NamedTuple):
    """A parameter, or a member inside it, that equals one of some values; 1 and 1.0 are the same number.

    `path` is the parameter's name, then the names of members. Jobs of the handlers `secret_in`, which keep the
    parameter secret, never match.
    """

    path: tuple[str, ...]
    values: tuple[Scalar, ...]
    secret_in: frozenset[str] = frozenset()

    def matches(self, handler: str, params: Mapping[str, Any]) -> bool:
        """Return whether a job with this handler and these stored parameters matches."""
        if handler in self.secret_in or ENCRYPTED in self.path:
            return False
        found: Any = params
        for name in self.path:
            if not isinstance(found, dict) or name not in found:
                return False
            found = found[name]
        return any(_same(found, value) for value in self.values)

    @property
    def texts(self) -> list[str]:
        """The texts of which the stored JSON of a job that matches contains at least one."""
        name = orjson.dumps(self.path[-1]).decode()
        return [f"{name}:{text}" for value in self.values for text in _texts(value)]


def param_filter(name: str, values: Sequence[Any], secret_in: frozenset[str] = frozenset()) -> ParamFilter:
    """Return the filter by a dotted name, as in `address.city`. Raises ValueError for values that it cannot have."""
    path = tuple(name.split("."))
    if len(name) > MAX_NAME or len(path) > MAX_DEPTH or not all(map(_is_text, path)) or not all(path):
        raise ValueError(
            f"a parameter's name must have 1 to {MAX_NAME} characters, in at most {MAX_DEPTH} names with dots between"
            f" them (got {len(name):,} characters, of which {name.count('.')} are dots)"
        )
    if not 0 < len(values) <= MAX_VALUES or not all(map(is_scalar, values)):
        raise ValueError(
            f"a parameter must be compared with 1 to {MAX_VALUES} values, each a number of 64 bits, true, false, null,"
            f" or a text of at most {MAX_TEXT:,} characters"
        )
    return ParamFilter(path, tuple(values), secret_in)


def is_scalar(value: Any) -> bool:
    """Return whether a parameter can be compared with the value."""
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and _is_text(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return value is None or (isinstance(value, float) and math.isfinite(value))


def _is_text(text: str) -> bool:
    """Return whether the text is valid Unicode, as all JSON is that was stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _same(found: Any, value: Scalar) -> bool:
    return isinstance(found, bool) is isinstance(value, bool) and bool(found == value)


def _texts(value: Scalar) -> list[str]:
    """Return the beginnings of the value in stored JSON; behind a number also its end, since 12 begins like 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return [orjson.dumps(value).decode()]
    forms: list[Scalar] = [value]
    if value == 0:
        forms = [0, 0.0, -0.0]
    elif isinstance(value, int):
        forms += [float(value)] if float(value) == value else []
    elif value.is_integer() and -(2**63) <= value < 2**64:
        forms.append(int(value))
    return [f"{orjson.dumps(form).decode()}{end}" for form in forms for end in ",}"]
