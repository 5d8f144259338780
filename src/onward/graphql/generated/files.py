"""The file of a handler, in messages about what the schema cannot show."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onward.graphql.base import HandlerSchemaError
from onward.handlers.base import Handler


def file_of(handler: Handler) -> str:
    """The file and the line of the handler's first function, in parentheses."""
    code = inspect.unwrap(handler.steps[0].call).__code__
    file = Path(code.co_filename)
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    return f"({shown}, line {code.co_firstlineno})"


@contextmanager
def naming_file(handler: Handler) -> Iterator[None]:
    """Name the handler's file in a HandlerSchemaError."""
    try:
        yield
    except HandlerSchemaError as error:
        raise type(error)(f"{error} {file_of(handler)}") from error
