"""The definition of a handler: its name, steps, retry policy and checked parameters.

The file is long because the decorators repeat the options of a handler for type checkers.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import NoneType
from typing import Any, Concatenate, Generic, Protocol, overload

from pydantic import BaseModel
from typing_extensions import ParamSpec, Unpack

from onward.arguments import check_argument
from onward.handlers.batch import BatchRequest, batch
from onward.handlers.context import JSON, JobContext, Log, Mailer, Toolbox, Tools
from onward.handlers.errors import (
    HandlerError,
    InvalidParameters,
    JobCancelled,
    LeaseLost,
    Permanent,
    Refused,
    RetryIn,
    TimedOut,
    UnknownHandler,
)
from onward.handlers.handed_on import check_handed_on
from onward.handlers.limit import Limit
from onward.handlers.mutation import Mutation, declared
from onward.handlers.on_failure import check_notified
from onward.handlers.options import HandlerOptions, complete
from onward.handlers.output import Output, output_of, written_by
from onward.handlers.parameters import Parameters, Upgrade, check_later, model_of, name_of, not_json, results_of
from onward.handlers.request import JobRequest, check_expires
from onward.handlers.results import ChildError, ChildResult, Results, ResultsParameter
from onward.handlers.retry import Retry
from onward.handlers.unique import Unique
from onward.handlers.waits import SLEEP, Wait, sleep, wait_for
from onward.text import queues

__all__ = [
    "JSON",
    "BatchRequest",
    "ChildError",
    "ChildResult",
    "Handler",
    "HandlerError",
    "HandlerOptions",
    "InvalidParameters",
    "JobCancelled",
    "JobContext",
    "JobRequest",
    "LeaseLost",
    "Limit",
    "Log",
    "Mailer",
    "Mutation",
    "Parameters",
    "Permanent",
    "Refused",
    "Results",
    "Retry",
    "RetryIn",
    "Step",
    "TimedOut",
    "Toolbox",
    "Tools",
    "Unique",
    "UnknownHandler",
    "Wait",
    "batch",
    "handler",
    "not_json",
    "sequence",
    "sleep",
    "wait_for",
]

Function = Callable[..., Any]
P = ParamSpec("P")
Params = ParamSpec("Params", default=...)


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work that is never run again once it has finished. The first takes parameters, later ones a value.

    A step with a `wait` is not run: the job is WAITING until its end.
    """

    name: str
    call: Function
    written_as: Output | None = None  # from the return annotation; the last step's is the handler's output
    wait: Wait | None = None
    is_async: bool = field(init=False)  # it runs on the event loop; if not, in a thread

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", inspect.iscoroutinefunction(self.call))


@dataclass(frozen=True, slots=True)
class Handler(Generic[Params]):
    """The work of jobs of one name.

    With `process` each attempt has a process of its own, which is killed at the time limit, at a cancel, and when the
    process that started it ends. `mutation` and `output` are what the GraphQL schema shows of it.
    """

    name: str
    steps: tuple[Step, ...]
    retry: Retry
    timeout: timedelta | None
    is_sequence: bool
    params: Parameters
    process: bool = False
    mutation: Mutation | None = None
    output: Output | None = None
    unique: Unique | None = None
    expires: timedelta | None = None
    on_failure: str | None = None  # the name of the handler that is told of its failures
    queue: str = queues.DEFAULT
    results: ResultsParameter | None = None  # how the first step takes the results of a batch
    limit: Limit | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+", self.name):
            raise ValueError(f"{self.name!r} must look like `family.name`: lowercase, digits, underscores, dots")
        if self.timeout is not None and self.timeout <= timedelta(0):
            raise ValueError(f"{self.name}: timeout must be positive, or None (got {self.timeout})")
        if self.expires is not None:
            check_expires(f"{self.name}: expires", self.expires)
        if self.on_failure == self.name:
            raise ValueError(f"{self.name}: on_failure must be another handler, or its failure would have no end")
        if self.version < 1:
            raise ValueError(f"{self.name}: version must be at least 1 (got {self.version})")
        if not queues.NAME.fullmatch(self.queue):
            raise ValueError(f"{self.name}: queue must be {queues.NAMED} (got {self.queue!r})")
        if unknown := self.secret - self.parameters.model_fields.keys():
            raise ValueError(f"{self.name}: secret names {', '.join(sorted(unknown))}, which are not parameters")
        by = () if self.unique is None else self.unique.by
        if unknown := frozenset(by) - self.parameters.model_fields.keys():
            raise ValueError(f"{self.name}: unique names {', '.join(sorted(unknown))}, which are not parameters")
        if self.results is not None and self.process:
            raise ValueError(f"{self.name}: a handler with process=True cannot take Results; have it do without")
        self._check_limit()

    def _check_limit(self) -> None:
        for one in self.limit.parameters if self.limit else ():
            if one not in self.parameters.model_fields:
                raise ValueError(f"{self.name}: limit is by {one}, which is not a parameter")
            if one in self.secret:
                raise ValueError(f"{self.name}: limit is by {one}, which is secret, and a key is shown")
            if self.unique is not None and self.unique.replace and one not in self.unique.by:
                raise ValueError(
                    f"{self.name}: limit is by {one}, which unique may replace: name it in by of the Unique, too"
                )

    @property
    def parameters(self) -> type[BaseModel]:
        """The model of the parameters."""
        return self.params.model

    @property
    def version(self) -> int:
        """The version of the parameters."""
        return self.params.version

    @property
    def upgrade(self) -> Upgrade | None:
        """The function that brings parameters of an older version up to date."""
        return self.params.upgrade

    @property
    def secret(self) -> frozenset[str]:
        """The names of parameters that are never logged or shown."""
        return self.params.secret

    def job(self, /, *args: Params.args, **params: Params.kwargs) -> JobRequest:
        """Request a job with these parameters, whose types are those of the function. Raises TypeError for other names.

        The values are checked when the job is accepted.
        """
        fields = self.parameters.model_fields
        missing = [name for name, info in fields.items() if info.is_required() and name not in params]
        unknown = [name for name in params if name not in fields]
        if args or missing or unknown:
            faults = ["its parameters are given by keyword"] if args else []
            faults += [f"{name} is missing" for name in missing] + [f"there is no parameter {name}" for name in unknown]
            raise TypeError(f"{self.name}: {'; '.join(faults)}")
        return JobRequest(self.name, dict(params))

    def bind(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check the parameters, complete them, and convert them for JSON. Raises `InvalidParameters`."""
        return self.params.bind(params)

    def given(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return what `bind` does, without what is as the defaults have it. Raises `InvalidParameters`."""
        return self.params.given(params)

    def arguments(self, params: Mapping[str, JSON]) -> dict[str, Any]:
        """Convert stored parameters to the arguments of the first step. Raises `InvalidParameters`."""
        return self.params.arguments(params)

    def limit_key(self, params: Mapping[str, JSON]) -> str | None:
        """Return the key of a job with these bound parameters; None if the handler has no limit by key."""
        return None if self.limit is None else self.limit.key(self.name, params)

    def output_of(self, step: Step) -> Output | None:
        """The type by which the step's result is written, and which that of the last one has to fit."""
        return self.output if step is self.steps[-1] else step.written_as

    def wait(self, name: str) -> Wait | None:
        """The wait for the signal of this name; None without one."""
        found = (step.wait for step in self.steps if step.wait is not None and step.name == name)
        return next((wait for wait in found if not wait.is_sleep), None)

    def no_signal(self, name: str) -> str:
        """Say that the handler does not wait for the signal, and which ones there are."""
        names = [step.name for step in self.steps if self.wait(step.name) is not None]
        return f"waits for no signal {name[:64]!r}" + (f"; it waits for {', '.join(names)}" if names else "")

    def source_of(self, index: int) -> int:
        """The index of the step whose result a later one gets: the one before it, without the sleeps between."""
        source = index - 1
        while (wait := self.steps[source].wait) is not None and wait.is_sleep:
            source -= 1
        return source

    def handed_on(self, index: int, stored: Any) -> Any:
        """The value that a later step gets, from the stored result of its source. Raises InvalidParameters."""
        wait = self.steps[self.source_of(index)].wait
        return stored if wait is None else wait.read(stored)


class Decorator(Protocol):
    """Makes a function a `Handler`. A parameter for results, behind the job, is none of the handler's parameters."""

    @overload
    def __call__(self, function: Callable[Concatenate[JobContext[Any], Results[Any], P], Any], /) -> Handler[P]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[JobContext[Any], P], Any], /) -> Handler[P]: ...


def handler(name: str, **options: Unpack[HandlerOptions]) -> Decorator:
    """Make a function a `Handler`. Its parameters after the job are keyword-only and typed.

    Raises TypeError and ValueError for a function or an option that cannot be one of a handler.
    """
    if callable(name):  # by a decorator without parentheses: the module would seem to have no handler
        raise TypeError(f'{name_of(name)}: @handler needs a name, as in @handler("group.{name_of(name)}")')
    given = _complete(name, options)

    def decorate(function: Function) -> Handler[Any]:
        with _named(name):
            model, output = model_of(function), output_of(function)
        return _made(name, (Step(name_of(function), function),), given, model, output)

    return decorate


@overload
def sequence(
    name: str,
    steps: tuple[Callable[Concatenate[JobContext[Any], Results[Any], P], Any], *tuple[Function | Wait, ...]],
    **options: Unpack[HandlerOptions],
) -> Handler[P]: ...


@overload
def sequence(
    name: str,
    steps: tuple[Callable[Concatenate[JobContext[Any], P], Any], *tuple[Function | Wait, ...]],
    **options: Unpack[HandlerOptions],
) -> Handler[P]: ...


@overload
def sequence(name: str, steps: list[Any], **options: Unpack[HandlerOptions]) -> Handler: ...


def sequence(name: str, steps: Sequence[Function | Wait], **options: Unpack[HandlerOptions]) -> Handler:
    """Make a handler of several steps, each with the result of the one before; `timeout` is for all together.

    Between two functions may stand waits: `sleep(timedelta(hours=1))`, `wait_for("approval", Approval)`.

    Type checkers know the parameters of `.job()` where the steps are a tuple: a list has one type for all its items.

    `mutation` is that of `handler`; its description comes from the first step's docstring.
    """
    given = _complete(name, options)
    expected = f"a tuple or list of functions, as in sequence({name!r}, (first, second))"
    check_argument(f"{name}: steps", steps, expected, tuple, list)
    if not steps:
        raise ValueError(f"{name} has no steps: give at least one function")
    first, last = steps[0], steps[-1]
    if isinstance(first, Wait) or isinstance(last, Wait):
        raise TypeError(f"{name}: a wait stands between two functions: begin and end the steps with a function")
    with _named(name):
        for function in steps[1:]:
            if not isinstance(function, Wait):
                check_later(function)
        check_handed_on(tuple(steps))
        model, output = model_of(first), output_of(last)
        named = (*_steps(steps[:-1]), Step(name_of(last), last))
    if len({step.name for step in named}) < len(named):
        raise ValueError(f"{name}: two of its steps have the same name; rename one of them")
    return _made(name, named, given, model, output, is_sequence=True)


def _complete(name: str, options: HandlerOptions) -> HandlerOptions:
    """Return the options with the defaults of those that were left out. Raises TypeError and ValueError."""
    given = complete(name, options)
    notified = given["on_failure"]
    check_argument(
        f"{name}: on_failure", notified, "a handler, or its name as a string, or None", Handler, str, NoneType
    )
    if isinstance(notified, Handler):
        check_notified(name, notified.name, notified.parameters)
    return given


def _steps(items: Sequence[Function | Wait]) -> Iterator[Step]:
    """Return the steps of functions and waits; sleeps without a name of their own are numbered."""
    sleeps = 0
    for one in items:
        if not isinstance(one, Wait):
            yield Step(name_of(one), one, written_by(one))
            continue
        sleeps += one.name == SLEEP
        name = f"{SLEEP}_{sleeps}" if one.name == SLEEP and sleeps > 1 else one.name
        yield Step(name, _never, wait=replace(one, name=name))


def _never(*_: Any) -> Any:
    """Stand for the function of a wait, which has none."""
    raise NotImplementedError


def _made(
    name: str,
    steps: tuple[Step, ...],
    given: HandlerOptions,
    model: type[BaseModel],
    output: Output | None,
    *,
    is_sequence: bool = False,
) -> Handler[Any]:
    """Make the handler of steps and of complete options."""
    notified = given["on_failure"]
    return Handler(
        name,
        steps,
        given["retry"],
        given["timeout"],
        is_sequence,
        Parameters(model, given["version"], given["upgrade"], given["secret"]),
        given["process"],
        declared(given["mutation"], name, steps[0].call, model),
        output,
        given["unique"],
        given["expires"],
        notified.name if isinstance(notified, Handler) else notified,
        given["queue"],
        results_of(steps[0].call),
        given["limit"],
    )


@contextmanager
def _named(handler: str) -> Iterator[None]:
    """Put the handler's name in front of an error in one of its functions."""
    try:
        yield
    except TypeError as error:
        raise TypeError(f"{handler}: {error}") from error
