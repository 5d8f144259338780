"""The mutation that a handler declares: plain values, from which `onward.graphql` makes the field."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from types import NoneType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from onward.arguments import check_argument, check_names
from onward.handlers.signatures import signature_of

if TYPE_CHECKING:
    from onward.graphql.viewer import Viewer

FORM = re.compile(r"[a-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", re.ASCII)
SECTION = re.compile(r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*(?:\n|$)|[ \t]*\n)+)", re.MULTILINE)
ARGUMENT = re.compile(r"^(\w+)(?:[ \t]*\([^)]*\))?:[ \t]*(.*)$")


@dataclass(frozen=True, slots=True)
class Mutation:
    """A mutation that accepts jobs of a handler.

    Its name comes from the handler's (`orders.confirm` becomes `ordersConfirm`) and its description from the docstring,
    where they are not given. `deprecated` is the reason.

    Everyone may send it, or viewers with one of `roles`, or those for whom `allow` returns True; admins always may.

    `beside` writes a row in the transaction that accepts the job, and returns it: `beside(tx, *, ...)` gets the
    parameters that it names, and the viewer if it has a parameter `viewer`. It may run more than once, so it writes to
    `tx` and does nothing else; it may raise `Refused`. A row of a dataclass or model is a field of the payload, which
    `read(tx, id)` finds again when an idempotency key is used again.
    """

    name: str = ""
    description: str = ""
    deprecated: str | None = None
    roles: Collection[str] = ()
    allow: Callable[[Viewer], bool] | None = None
    beside: Callable[..., Any] | None = None
    read: Callable[..., Any] | None = None
    arguments: tuple[tuple[str, str], ...] = field(default=(), init=False)  # descriptions from the docstring

    def __post_init__(self) -> None:
        if isinstance(self.roles, str):
            raise TypeError(f"roles must be a list of names (got {self.roles!r}): write roles=[{self.roles!r}]")
        check_argument("name", self.name, 'a string, as in Mutation("confirmOrder")', str)
        check_argument("description", self.description, "a string", str)
        check_argument("deprecated", self.deprecated, "the reason as a string, or None", str, NoneType)
        check_names("roles", self.roles, 'a list of names, as in roles=["staff"]', Collection)
        check_argument("allow", self.allow, "a function of the viewer, or None", Callable, NoneType)  # type: ignore[arg-type]
        check_argument("beside", self.beside, "a function of the transaction, or None", Callable, NoneType)  # type: ignore[arg-type]
        check_argument("read", self.read, "a function of the transaction and an id, or None", Callable, NoneType)  # type: ignore[arg-type]
        object.__setattr__(self, "roles", tuple(self.roles))
        if inspect.iscoroutinefunction(self.allow):
            raise TypeError("allow must be a plain function of the viewer, as in `def allow(viewer)`: nobody awaits it")
        if self.read is not None and self.beside is None:
            raise ValueError("read finds the row that beside wrote: give beside, too")

    def permits(self, viewer: Viewer) -> bool:
        """True if the viewer may send it."""
        if "admin" in viewer.roles or not (self.roles or self.allow):
            return True
        if any(role in viewer.roles for role in self.roles):
            return True
        return self.allow is not None and self.allow(viewer) is True


def declared(
    given: bool | str | Mutation,  # noqa: FBT001 - the argument of the decorator
    handler: str,
    function: Callable[..., Any],
    parameters: type[BaseModel],
) -> Mutation | None:
    """Complete the mutation of a handler from its name and docstring. Raises ValueError and TypeError."""
    if given is False:
        return None
    made = given if isinstance(given, Mutation) else Mutation(given if isinstance(given, str) else "")
    name = made.name or re.sub(r"[._]+(\w)", lambda found: found[1].upper(), handler)
    if not FORM.fullmatch(name):
        raise ValueError(f"{handler}: {name!r} is no name of a mutation: write it as in confirmOrder")
    if made.beside is not None:
        _check_beside(handler, made.beside, parameters)
    head, arguments = _documented(function)
    deprecated = made.deprecated or getattr(function, "__deprecated__", None)
    found = replace(made, name=name, description=made.description or head, deprecated=deprecated)
    object.__setattr__(found, "arguments", arguments)
    return found


def _check_beside(handler: str, beside: Callable[..., Any], parameters: type[BaseModel]) -> None:
    names = list(signature_of(beside).parameters.values())
    if inspect.iscoroutinefunction(beside) or not names or names[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise TypeError(f"{handler}: beside must be a plain function of the transaction, as in `def write(tx, *, ...)`")
    if "viewer" in parameters.model_fields and any(parameter.name == "viewer" for parameter in names[1:]):
        raise TypeError(f"{handler}: beside gets who sends it as viewer: give the handler's own parameter another name")
    for parameter in names[1:]:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise TypeError(
                f"{handler}: {parameter.name} of beside must be keyword-only, as in `def write(tx, *, ...)`"
            )
        if parameter.name not in {*parameters.model_fields, "viewer"} and parameter.default is parameter.empty:
            raise TypeError(f"{handler}: beside asks for {parameter.name}, which is not a parameter of the handler")


def _documented(function: Callable[..., Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Return the first paragraph of the docstring, and the descriptions of its section `Args:`."""
    text = inspect.getdoc(function) or ""
    head = " ".join(text.partition("\n\n")[0].split())
    section = SECTION.search(text)
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc("\n" + section[1]).splitlines() if section else ():
        if started := ARGUMENT.match(line):
            name = started[1]
            found[name] = started[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return head, tuple((name, words.strip()) for name, words in found.items())
