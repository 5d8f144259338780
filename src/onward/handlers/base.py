"""What a handler is: a name, steps, a retry policy and checked parameters."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

from onward.handlers.context import JSON, JobContext, Log, Mailer, Toolbox, Tools
from onward.handlers.parameters import check_later, model_of, name_of, to_json

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
    """What a handler has to say. Its words and its code are shown to callers, so they hold no address and no path."""

    code: str = "FAILED"


class Permanent(HandlerError):
    """Trying again can never help."""

    def __init__(self, message: str, code: str = "PERMANENT") -> None:
        super().__init__(message)
        self.code = code


class InvalidParameters(HandlerError):
    """The parameters are not the handler's. `errors` holds a path (dotted, may be empty) and a message for each."""

    code = "INVALID_PARAMETERS"

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {message}" if path else message for path, message in errors))
        self.errors = errors


class JobCancelled(HandlerError):
    """Somebody cancelled the job."""

    code = "CANCELLED"


class LeaseLost(HandlerError):
    """The job belongs to another runner by now; nothing of this one counts any more."""

    code = "LEASE_LOST"


class TimedOut(HandlerError):
    """The handler's time limit has passed."""

    code = "TIMED_OUT"


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and how far apart: `base` doubled with each attempt, never above `cap`. 1 means no retry."""

    max_attempts: int = 5
    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ValueError("max_attempts counts the first attempt too, so it is at least 1")
        if not timedelta(0) <= self.base <= self.cap:
            raise ValueError("base is not negative, and cap is not below it")


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of work, never run again once it has finished. The first takes parameters, the others a value."""

    name: str
    call: Function

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop; otherwise in a thread."""
        return inspect.iscoroutinefunction(self.call)


@dataclass(frozen=True, slots=True)
class Handler:
    """What a job of this name does. `secret` names parameters that are never logged or shown.

    `version` is that of the parameters; `upgrade(version, params)` brings those of an older release up to date.
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

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", self.name):
            raise ValueError(f"{self.name!r} must look like `family.name`: lowercase, digits, underscores, dots")
        if self.timeout is not None and self.timeout <= timedelta(0):
            raise ValueError(f"{self.name}: timeout must be longer than nothing, or None")
        if self.version < 1:
            raise ValueError(f"{self.name}: version counts from 1")
        if unknown := self.secret - self.parameters.model_fields.keys():
            raise ValueError(f"{self.name}: secret names {', '.join(sorted(unknown))}, which it does not take")

    def bind(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, checked and complete, as JSON can hold them. Raises `InvalidParameters`."""
        return self._validate(params).model_dump(mode="json", round_trip=True)

    def arguments(self, params: Mapping[str, JSON]) -> dict[str, Any]:
        """What was stored becomes what the first step is called with. Raises `InvalidParameters`."""
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
            raise InvalidParameters(list(_untold(params))) from None


def handler(
    name: str,
    *,
    retry: Retry = Retry(),
    timeout: timedelta | None = None,
    version: int = 1,
    upgrade: Upgrade | None = None,
    secret: frozenset[str] = frozenset(),
) -> Callable[[Function], Handler]:
    """The decorated function becomes a `Handler`. Its parameters, beside the job, are keyword-only and typed."""

    def decorate(function: Function) -> Handler:
        steps = (Step(name_of(function), function),)
        return Handler(name, steps, retry, timeout, False, model_of(function), version, upgrade, secret)

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
) -> Handler:
    """A handler of several steps, each given the result of the last; `timeout` is for them all together."""
    if not steps:
        raise ValueError(f"{name} has no steps")
    for function in steps[1:]:
        check_later(function)
    named = tuple(Step(name_of(function), function) for function in steps)
    if len({step.name for step in named}) < len(named):
        raise ValueError(f"{name}: two of its steps have the same name")
    return Handler(name, named, retry, timeout, True, model_of(steps[0]), version, upgrade, secret)


def _untold(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    # Which of them it was, found only once something was wrong.
    found = []
    for name, value in params.items():
        try:
            to_json({name: value})
        except ValueError as error:
            found.append((str(name), str(error)))
    return found or [("", "holds what cannot travel as JSON")]
