"""Puts a break into the program; the code that it replaces must exist."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from onward.jobs.timings import VARIABLE, Timings


def put(owner: object, name: str, value: object) -> None:
    """Replace the attribute. Raises AttributeError if it does not exist: the break is outdated."""
    getattr(owner, name)
    setattr(owner, name, value)


def timings(**changed: float | None) -> None:
    """Give this process and its children wrong timings."""
    replace(Timings(), **changed)  # type: ignore[arg-type] # raises for a misspelt name
    os.environ[VARIABLE] = json.dumps(changed)


def around(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """Replace the attribute by the result of `make`. Raises AttributeError as `put` does."""
    put(owner, name, make(getattr(owner, name)))


def values(statement: Any) -> dict[str, Any]:
    """Return the values that an UPDATE sets."""
    return {getattr(column, "name", column): value for column, value in statement._values.items()}
