"""How a break is put in: what it replaces has to be there."""

from collections.abc import Callable
from typing import Any


def put(owner: object, name: str, value: object) -> None:
    """The attribute is another one. Raises AttributeError where it was not there: the program has moved on."""
    getattr(owner, name)
    setattr(owner, name, value)


def around(owner: object, name: str, make: Callable[[Any], Any]) -> None:
    """The attribute is what `make` makes of it. Raises AttributeError as `put` does."""
    put(owner, name, make(getattr(owner, name)))


def values(statement: Any) -> dict[str, Any]:
    """What an UPDATE sets."""
    return {getattr(column, "name", column): value for column, value in statement._values.items()}
