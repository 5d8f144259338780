"""Descriptions of fields and types, from annotations, constraints and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from pydantic.fields import FieldInfo

from onward.handlers.fields import stripped, without_none


def bounds(metadata: Sequence[Any]) -> dict[str, Any]:
    """The constraints by name: ge, gt, le, lt, min_length, max_length, multiple_of, pattern."""
    names = ("ge", "gt", "le", "lt", "min_length", "max_length", "multiple_of", "pattern")
    return {
        name: value
        for one in metadata
        if not isinstance(one, FieldInfo)
        for name in names
        if (value := getattr(one, name, None)) is not None
    }


def described(description: str, metadata: Sequence[Any], *, items: bool = False) -> str | None:
    """The description of a field with its constraints; None if there is nothing to say."""
    texts = [description] if description else _description(metadata)
    found = bounds(metadata)
    if "ge" in found and "le" in found:
        texts.append(f"{_figure(found['ge'])} to {_figure(found['le'])}.")
    else:
        texts += [f"{words} {_figure(found[name])}." for name, words in _ENDS.items() if name in found]
    least, most = found.get("min_length"), found.get("max_length")
    noun = ("item" if items else "character") + ("s" if (least if most is None else most) != 1 else "")
    if least and most is not None:
        texts.append(f"{_figure(least)} to {_figure(most)} {noun}." if least != most else f"{_figure(most)} {noun}.")
    elif least or most is not None:
        texts.append(f"At least {_figure(least)} {noun}." if most is None else f"At most {_figure(most)} {noun}.")
    if "multiple_of" in found:
        texts.append(f"A multiple of {_figure(found['multiple_of'])}.")
    if "pattern" in found:
        texts.append(f"Matches `{getattr(found['pattern'], 'pattern', found['pattern'])}`.")
    return " ".join(texts) or None


_ENDS = {"ge": "At least", "gt": "More than", "le": "At most", "lt": "Less than"}


def _description(metadata: Sequence[Any]) -> list[str]:
    """The description of an inner `Field(description=...)` or `Doc(...)`, if there is one."""
    said = [getattr(one, "description", None) or getattr(one, "documentation", None) for one in metadata]
    return [text for text in said if isinstance(text, str)][:1]


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def paragraph(type_: type) -> str | None:
    """The first paragraph of the class's own docstring."""
    text = inspect.cleandoc(type_.__dict__.get("__doc__") or "").partition("\n\n")[0]
    # A dataclass without a docstring is given its signature.
    return None if not text or text.startswith(f"{type_.__name__}(") else " ".join(text.split())


def inner_metadata(annotation: Any) -> tuple[Any, ...]:
    """The metadata within `Annotated[...] | None`."""
    bare, null = without_none(annotation)
    return stripped(bare)[1] if null else stripped(annotation)[1]
