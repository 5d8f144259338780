"""Shell completion of `onward jobs send`: names of handlers, their parameters as options, and values of these.

The modules of the project run for it: their output and their errors must not reach the shell.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from onward.handlers.base import Handler

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Completion:
    """A word that the shell may insert, as typer's classes for shells read it."""

    value: str
    help: str | None = None
    type: str = "plain"


def handler_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the handlers' names with that beginning, and their descriptions."""

    def found(handlers: Mapping[str, Handler]) -> list[tuple[str, str]]:
        return [(name, _words(handler)) for name, handler in handlers.items() if name.startswith(incomplete)]

    return _of_project(context, found)


class SendCommand(TyperCommand):
    """The command whose further options are the parameters of the given handler."""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the options of the command and of the handler; or the values of the handler's option before."""
        own = super().shell_complete(ctx, incomplete)
        return [*own, *_of_project(ctx, lambda handlers: _further(handlers, ctx, incomplete))]


def _further(handlers: Mapping[str, Handler], context: Any, incomplete: str) -> list[Completion]:
    from onward.cli import parameter_options

    handler = handlers.get(context.params.get("handler") or "")
    if handler is None:
        return []
    if not incomplete.startswith("-"):
        last = context.args[-1] if context.args else ""
        return [Completion(one) for one in parameter_options.choices(handler, last) if one.startswith(incomplete)]
    found = parameter_options.options(handler)
    return [Completion(option, words) for option, words in found if option.startswith(incomplete)]


def _of_project(context: Any, function: Callable[[Mapping[str, Handler]], list[T]]) -> list[T]:
    project = context.find_root().params.get("project")
    if project is not None:
        os.environ["ONWARD_PROJECT"] = str(project)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            from onward.config.settings import enter
            from onward.runtime.handlers import load_handlers

            return function(load_handlers(enter()))
    except BaseException:  # noqa: BLE001 - nothing is completed, also where a module ends the process
        return []


def _words(handler: Handler) -> str:
    text = handler.mutation.description if handler.mutation else handler.steps[0].call.__doc__ or ""
    return " ".join(text.partition("\n\n")[0].split())
