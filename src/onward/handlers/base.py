"""The definition of a handler: its name, steps, retry policy and checked parameters."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

from onward.handlers.context import JSON, JobContext, Log, Mailer, Toolbox, Tools
from onward.handlers.json_values import fault
from onward.handlers.parameters import check_later, is_written, model_of, name_of, to_json

__all__ = [
    "JSON",
    "Handler",
    "HandlerError",
    "InvalidParameters",
    "JobCancelled",
    "JobContext",
    "LeaseLost",
    "Log",
    "Mailer",
    "Permanent",
    "Retry",
    "Step",
    "TimedOut",
    "Toolbox",
    "Tools",
    "handler",
    "sequence",
]

Function = Callable[..., Any]
Upgrade = Callable[[int, dict[str, Any]], dict[str, Any]]


class HandlerError(Exception):
    """Base class for errors of handlers. Callers see code and message: put no address and no path into them."""

    code: str = "FAILED"


class Permanent(HandlerError):
    """An error that another attempt cannot fix."""

    def __init__(self, message: str, code: str = "PERMANENT") -> None:
        super().__init__(message)
        self.code = code


class InvalidParameters(HandlerError):
    """The parameters do not fit the handler. `errors` are pairs of a dotted path, which may be empty, and a message."""

    code = "INVALID_PARAMETERS"

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {message}" if path else message for path, message in errors))
        self.errors = errors


class JobCancelled(HandlerError):
    """The job was cancelled."""

    code = "CANCELLED"


class LeaseLost(HandlerError):
    """The claim of the job is over: another runner may have it, and what this one does is not recorded."""

    code = "LEASE_LOST"


class TimedOut(HandlerError):
    """The handler has run past its time limit."""

    code = "TIMED_OUT"


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry policy: the wait is `base`, doubled with each attempt, and at most `cap`. One attempt means no retry."""

    max_attempts: int = 5
    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, the first attempt (got {self.max_attempts})")
        if not timedelta(0) <= self.base <= self.cap:
            raise ValueError(f"base must be 0 to cap (got base {self.base}, cap {self.cap})")


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work that is never run again once it has finished. The first takes parameters, later ones a value."""

    name: str
    call: Function

    @property
    def is_async(self) -> bool:
        """True if the handler runs on the event loop; false if in a thread."""
        return inspect.iscoroutinefunction(self.call)


@dataclass(frozen=True, slots=True)
class Handler:
    """The work of jobs of one name. `secret` names parameters that are never logged or shown.

    `version` is that of the parameters; `upgrade(version, params)` brings those of an older version up to date.
    With `process` each attempt has a process of its own, which is killed at the time limit, at a cancel, and when the
    process that started it ends.
    """

    name: str
    steps: tuple[Step, ...]
    retry: Retry
    timeout: timedelta | None
    is_sequence: bool
    parameters: type[BaseModel]
    version: int = 1
    upgrade: Upgrade | None = None
    secret: frozenset[str] = frozenset()
    process: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", self.name):
            raise ValueError(f"{self.name!r} must look like `family.name`: lowercase, digits, underscores, dots")
        if self.timeout is not None and self.timeout <= timedelta(0):
            raise ValueError(f"{self.name}: timeout must be positive, or None (got {self.timeout})")
        if self.version < 1:
            raise ValueError(f"{self.name}: version must be at least 1 (got {self.version})")
        if unknown := self.secret - self.parameters.model_fields.keys():
            raise ValueError(f"{self.name}: secret names {', '.join(sorted(unknown))}, which are not parameters")

    def bind(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check the parameters, complete them, and convert them for JSON. Raises `InvalidParameters`."""
        return self._validate(params).model_dump(mode="json", round_trip=True)

    def arguments(self, params: Mapping[str, JSON]) -> dict[str, Any]:
        """Convert stored parameters to the arguments of the first step. Raises `InvalidParameters`."""
        model = self._validate(params)
        return {name: getattr(model, name) for name in self.parameters.model_fields}

    def _validate(self, params: Mapping[str, Any]) -> BaseModel:
        # Through JSON, so that a job is accepted exactly when what is stored of it can be read again.
        try:
            return self.parameters.model_validate_json(to_json(dict(params)))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise InvalidParameters([(".".join(map(str, e["loc"])), e["msg"]) for e in found]) from None
        except ValueError:
            raise InvalidParameters(not_json(params)) from None


def handler(
    name: str,
    *,
    retry: Retry = Retry(),
    timeout: timedelta | None = None,
    version: int = 1,
    upgrade: Upgrade | None = None,
    secret: frozenset[str] = frozenset(),
    process: bool = False,
) -> Callable[[Function], Handler]:
    """Make a function a `Handler`. Its parameters after the job are keyword-only and typed.

    `process=True` runs it in a process of its own, which can be killed.
    """

    def decorate(function: Function) -> Handler:
        steps = (Step(name_of(function), function),)
        return Handler(name, steps, retry, timeout, False, model_of(function), version, upgrade, secret, process)

    return decorate


def sequence(
    name: str,
    steps: Sequence[Function],
    *,
    retry: Retry = Retry(),
    timeout: timedelta | None = None,
    version: int = 1,
    upgrade: Upgrade | None = None,
    secret: frozenset[str] = frozenset(),
    process: bool = False,
) -> Handler:
    """Make a handler of several steps, each given the result of the one before; `timeout` is for all together."""
    if not steps:
        raise ValueError(f"{name} has no steps: give at least one function")
    for function in steps[1:]:
        check_later(function)
    named = tuple(Step(name_of(function), function) for function in steps)
    if len({step.name for step in named}) < len(named):
        raise ValueError(f"{name}: two of its steps have the same name; rename one of the functions")
    return Handler(name, named, retry, timeout, True, model_of(steps[0]), version, upgrade, secret, process)


def not_json(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Find the parameters that are no JSON, and the place in each. Slow, and only called when one of them is none."""
    found = [fault(value, str(name), is_written) for name, value in params.items()]
    return [one for one in found if one is not None] or [("", "holds a value that cannot be written as JSON")]
