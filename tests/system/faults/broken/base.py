"""Puts a break into the program; the code that it replaces must exist."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from onward.jobs.timings import VARIABLE, Timings


def put(owner: object, name: str, value: object) -> None:
    """The attribute is another one. Raises AttributeError where it was not there: the program has moved on."""
    getattr(owner, name)
    setattr(owner, name, value)


def timings(**changed: float | None) -> None:
    """The process, and those that it starts, wait for other times than they should."""
    replace(Timings(), **changed)  # type: ignore[arg-type] # a misspelt name is told of here
    os.environ[VARIABLE] = json.dumps(changed)


def around(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """The attribute is what `make` makes of it. Raises AttributeError as `put` does."""
    put(owner, name, make(getattr(owner, name)))


def values(statement: Any) -> dict[str, Any]:
    """The values that an UPDATE sets."""
    return {getattr(column, "name", column): value for column, value in statement._values.items()}
