"""A claimed job while it runs: the context that its handler gets, and the reason why it has to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import timedelta
from enum import Enum, auto
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, Protocol, SupportsInt

import orjson

from onward.arguments import check_argument
from onward.handlers.base import (
    BatchRequest,
    InvalidParameters,
    JobCancelled,
    JobRequest,
    LeaseLost,
    Permanent,
    TimedOut,
    Tools,
)
from onward.jobs.encryption import exposed, redact
from onward.jobs.model import Job, NewJob, Progress, without_surrogates
from onward.jobs.options import NO_OPTIONS, DispatchOptions
from onward.jobs.results import chunk_json
from onward.jobs.signal_urls import LASTS, SignalUrls
from onward.jobs.states import StepStatus
from onward.storage import lock_order

if TYPE_CHECKING:
    from onward.handlers.base import Handler
    from onward.jobs.batch_making import Making
    from onward.jobs.batch_stage import BatchStage
    from onward.jobs.emitting import Output
    from onward.jobs.job_log import JobLog
    from onward.jobs.step_process import StepProcess


NO_URLS = SignalUrls((), "")
CLEAN_UP_S = 10.0  # that a cancelled handler has before it is cancelled again
NUMBERS = (int, bool, float, SupportsInt)  # those of other libraries, too; the commonest first, which is quick


OPTIONS = tuple(one.name for one in fields(DispatchOptions))


class StopReason(Enum):
    """The reason why a running job has to stop."""

    CANCEL = auto()
    DRAIN = auto()
    LOST = auto()
    TIMEOUT = auto()


class Drained(LeaseLost):
    """The process drains, and the job goes on in another one."""


class Cancellable(Protocol):
    """The part of a job that an interruption ends."""

    def cancel(self) -> object: ...


class Running:
    """The `JobContext` of one claim. Its methods but `interrupt` may be called from any thread."""

    def __init__(
        self,
        job: Job,
        tools: Tools,
        resources: Any,
        prepare: Callable[[Job, str, Mapping[str, Any], DispatchOptions], NewJob],
        *,
        on_progress: Callable[[Running], None],
        on_emit: Callable[[Running, str], None],
        urls: SignalUrls = NO_URLS,
        stage: BatchStage | None = None,
        handlers: Mapping[str, Handler] = MappingProxyType({}),
    ) -> None:
        self.job = job
        self.id = job.id
        self.order = lock_order.job(job.id)
        self.idempotency_key = job.id
        self.handler = job.handler
        self.owner = job.owner
        self.attempt = job.attempt
        self.tools = tools
        self.resources = resources
        self.stop: StopReason | None = None
        self.task: Cancellable | None = None  # the async step that runs, or the plain one that may wait for a thread
        self.interrupted = False  # `task` was told to stop
        self._cancel_again_at = 0.0  # by `time.monotonic()`
        self.deadline: float | None = None
        self.over = False  # its attempt has ended
        self.recording = False  # its step or its attempt has ended, and is being written down
        self.process: StepProcess | None = None  # in which its steps run, if its handler asked for one
        self.overrun: asyncio.Future[Any] | None = None  # the end of a plain step that went on past the deadline
        self.latest: Progress | None = job.progress
        self.reporting = False  # `latest` is about to be written
        self.step = ""  # the name of the one that runs
        self.output: Output | None = None  # once there is some
        self.log: JobLog | None = None  # if its lines are kept
        self.steps = job.steps  # as they were recorded last
        self.children: list[NewJob] = []
        self.batches: list[Making] = []
        self.params: dict[str, Any] | None = None  # decrypted, once a step has begun
        self.secrets: tuple[str, ...] = ()  # texts among its parameters that are not shown
        self._prepare = prepare
        self._on_progress = on_progress
        self._on_emit = on_emit
        self._urls = urls
        self._handlers = handlers
        self._stage = stage

    def progress(self, completed: int, total: int | None = None, message: str | None = None) -> None:
        """Show the progress to subscribers soon. Raises as `check` does."""
        self.check()
        number = "a whole number, as in job.progress(3, 10)"
        check_argument("completed", completed, number, *NUMBERS)
        check_argument("total", total, f"{number}, or None", *NUMBERS, NoneType)
        check_argument("message", message, "a string, or None", str, NoneType)
        shown = message and without_surrogates(redact(message, self.secrets)[:500])
        self.latest = Progress(_clamp(completed), None if total is None else _clamp(total), shown)
        self._on_progress(self)

    def emit(self, chunk: Any) -> None:
        """Add a chunk to the job's output. Raises as `check` does.

        Raises TypeError for None; Permanent if the chunk is no JSON, or too large; LeaseLost after the attempt's end.
        """
        self._check_stop()
        if self.over:
            raise LeaseLost("the job is over, and its output with it: emit the chunk before the handler returns")
        self.emit_json(chunk_json(chunk, self.secrets))

    def emit_json(self, data: str) -> None:
        """Add a chunk that was checked and is written as JSON."""
        self._on_emit(self, data)

    def check(self) -> None:
        """Return if the job may go on. Raises JobCancelled, TimedOut or LeaseLost if it may not."""
        self._check_stop()
        if self.over:
            raise LeaseLost("the job is over: end what goes on after it, or have the handler wait for that")

    def _check_stop(self) -> None:
        deadline = self.deadline  # read once: another thread may pause it
        if self.stop is None and deadline is not None and time.monotonic() > deadline:
            self.stop = StopReason.TIMEOUT
        match self.stop:
            case StopReason.CANCEL:
                raise JobCancelled("the job was cancelled")
            case StopReason.TIMEOUT:
                raise TimedOut("it ran longer than its time limit")
            case StopReason.DRAIN:
                raise Drained("the process is being stopped")
            case StopReason.LOST:
                raise LeaseLost("the job belongs to another runner by now")

    def result_of(self, step: str) -> Any:
        """Return the result of a finished step, as the ledger has it. Raises ValueError for any other name."""
        finished = {one.name: one.result for one in self.steps if one.status is StepStatus.SUCCEEDED}
        if step not in finished:
            raise ValueError(f"{self.handler}: no step {step!r} has finished; those that have: {', '.join(finished)}")
        return finished[step]

    def signal_url(self, name: str, *, expires: timedelta = LASTS) -> str:
        """Return an address that sends this run of the job the signal until it expires.

        Raises TypeError and ValueError, also for a name that the handler does not wait for.
        """
        url, handler = self._urls.make(self.id, name, expires, run=self.job.run), self._handlers.get(self.handler)
        if handler is not None and handler.wait(name) is None:
            raise ValueError(f"signal_url: {self.handler} {handler.no_signal(name)}")
        return url

    def dispatch(self, request: str | JobRequest | BatchRequest, /, **given: Any) -> str:
        """Accept a further job, or a batch, together with the end of this step, and return its id.

        Raises as `dispatch_with` does; TypeError and ValueError for a batch that is none.
        """
        if isinstance(request, BatchRequest):
            return self._dispatch_batch(request, _options_of("a batch", given))
        return self.dispatch_with(*unpacked(request, given))

    def dispatch_with(self, handler: str, params: Mapping[str, Any], options: DispatchOptions) -> str:
        """Accept a further job of the handler with these options.

        Raises InvalidParameters, also where a secret of this job would be in the clear; LeaseLost after the attempt's
        end.
        """
        self._require_open(handler)
        child = self._child(handler, params, options)
        assert child.id is not None  # noqa: S101 - for the type checker
        self.children.append(child)
        return child.id

    def _require_open(self, what: str) -> None:
        if self.over:
            raise LeaseLost(f"the job is over: {what} would not be accepted; dispatch it before the handler returns")

    def _child(self, handler: str, params: Mapping[str, Any], options: DispatchOptions) -> NewJob:
        child = self._prepare(self.job, handler, params, options)
        if self.secrets and (clear := exposed(orjson.loads(child.params), self.secrets)):
            words = f"holds a secret parameter of {self.handler}; name it in `secret` of {handler}, or leave it out"
            raise InvalidParameters([(name, words) for name in clear])
        return child

    def _dispatch_batch(self, request: BatchRequest, options: DispatchOptions) -> str:
        """Make a batch, which is accepted with the end of the step. A plain function stages a long one as it goes."""
        if self._stage is None:
            raise Permanent("a handler with process=True cannot dispatch a batch: have another one do it")
        self._require_open("the batch")
        owner = self.owner if options.owner is None else options.subject
        making = self._stage.begin(
            request, self.job, lambda child: self._child(child.handler, child.params, options), owner=owner
        )
        try:
            for _ in making:
                self.check()
                if not _on_event_loop():
                    self._stage.write(making)
        except BaseException:
            self._stage.discard(making)
            raise
        self.batches.append(making)
        return making.id

    @contextmanager
    def paused_limit(self) -> Iterator[None]:
        """Stop the time limit for as long as the ledger takes: only the time of the functions counts."""
        left_s = None if self.deadline is None else self.deadline - time.monotonic()
        self.deadline = None
        try:
            yield
        finally:
            if left_s is not None:
                self.deadline = time.monotonic() + left_s

    def interrupt(self, reason: StopReason) -> None:
        """Stop the job at its next await, or at its next check. From the event loop.

        A cancel is found at each poll: the next ones let the handler clean up, and end a task that has gone on instead.
        """
        if self.stop is None or reason is StopReason.LOST:
            self.stop = reason
        now = time.monotonic()
        if self.task is None or (self.interrupted and reason is StopReason.CANCEL and now < self._cancel_again_at):
            return
        self.interrupted, self._cancel_again_at = True, now + CLEAN_UP_S
        self.task.cancel()


def unpacked(request: str | JobRequest, given: dict[str, Any]) -> tuple[str, Mapping[str, Any], DispatchOptions]:
    """Return the handler, the parameters and the options of a job that a handler dispatches.

    Raises TypeError and ValueError.
    """
    if isinstance(request, str):
        return request, given, NO_OPTIONS
    check_argument("job.dispatch: the request", request, "HANDLER.job(...), or the name of a handler", JobRequest)
    return request.handler, request.params, _options_of(request.handler, given)


def _options_of(name: str, given: dict[str, Any]) -> DispatchOptions:
    """Return the options of a dispatched job. Raises TypeError and ValueError."""
    if unknown := [one for one in given if one not in OPTIONS]:
        words = f"give {', '.join(unknown)} to .job(...); dispatch itself knows only {', '.join(OPTIONS)}"
        if unknown == ["idempotency_key"]:
            words = "dispatch needs no idempotency key: the job is committed with the end of the step, and so once"
        raise TypeError(f"{name}: {words}")
    try:
        return DispatchOptions(**given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _clamp(n: int) -> int:
    """Return the nearest number from 0 on that GraphQL can show: its integers have 32 bits."""
    return max(min(int(n), 2**31 - 1), 0)
