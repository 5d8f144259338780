"""The process of a handler with `process=True`, which runs the steps of one attempt for `onward.jobs.step_process`.

The file is long because it is the whole other side of one pipe.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import fields
from datetime import timedelta
from time import monotonic
from types import MappingProxyType
from typing import Any

import orjson
import structlog

from onward.children import shield
from onward.config.settings import Settings
from onward.handlers.base import (
    Handler,
    HandlerError,
    InvalidParameters,
    LeaseLost,
    Permanent,
    RetryIn,
    Step,
    not_json,
)
from onward.handlers.parameters import to_json
from onward.jobs import outcome
from onward.jobs.arguments import arguments_of
from onward.jobs.encryption import redact
from onward.jobs.job_log import OFF, shown
from onward.jobs.model import Job, without_surrogates
from onward.jobs.model import Step as JobStep
from onward.jobs.options import DispatchOptions
from onward.jobs.results import storable
from onward.jobs.running import Running, StopReason
from onward.jobs.signal_urls import SignalUrls
from onward.jobs.states import StepStatus
from onward.jobs.step_runner import StepRunner
from onward.jobs.step_threads import StepThreads
from onward.jobs.timings import Timings
from onward.runtime.database import database_of
from onward.runtime.event_loop import Loop
from onward.runtime.handlers import build_tools, lifespan, load_handlers
from onward.runtime.values import log_level, signal_urls
from onward.storage.base import Unavailable
from onward.storage.ledger import Ledger
from onward.storage.writer import Writer
from onward.telemetry import job_lines
from onward.telemetry.job_lines import JobLines, Line
from onward.telemetry.metrics import Metrics
from onward.telemetry.trace_export import build
from onward.telemetry.tracing import Tracing
from onward.telemetry.watchdog import Watchdog
from onward.text.errors import text_of

PROGRESS_INTERVAL_S = 0.05
FLUSH_S = 1.0  # for the last spans on their way out
TRACE_CHARACTERS = 20_000
PR_SET_PDEATHSIG = 1
ANSWERS = frozenset({"dispatched", "refused", "over"})
JOB_OVER = MappingProxyType({"over": "the job is over: dispatch what follows before the handler returns"})


class StepUnknown(HandlerError):
    """The modules on disk are newer than those of the process that runs the job."""

    code = "STEP_UNKNOWN"


class Parent:
    """The connection to the parent: messages to it, from any thread, and its answers to questions."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        # Its end tells the parent of that of this process: no program of a handler, and no fork, may keep it open.
        self._socket.set_inheritable(False)
        shield(self._descriptors)
        self._lock = threading.RLock()  # a collected object may log while a thread holds it
        self._answers: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self.orders: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self.running: Running | None = None
        self._ended = False
        self._loop = asyncio.get_running_loop()

    def _descriptors(self) -> Iterator[int]:
        yield self._socket.fileno()

    def listen(self) -> None:
        """Read messages until the parent is gone, and end the process then. Runs in a thread of its own."""
        for line in self._socket.makefile("rb"):
            message = orjson.loads(line)
            if ANSWERS & message.keys():
                self._answers.put(message)
            elif "end" in message:
                self._end()
                self._loop.call_soon_threadsafe(self.orders.put_nowait, message)
            elif "stop" in message:
                self._loop.call_soon_threadsafe(self._stop, StopReason[message["stop"]])
            else:
                self._loop.call_soon_threadsafe(self.orders.put_nowait, message)
        os._exit(1)

    def _end(self) -> None:
        """Refuse what is asked from now on, and what waits for its answer: the parent reads nothing more."""
        self._ended = True
        if self.running is not None:
            self.running.over = True
        self._answers.put(JOB_OVER)

    def _stop(self, reason: StopReason) -> None:
        if self.running is not None:
            self.running.interrupt(reason)

    def send(self, **message: Any) -> None:
        data = orjson.dumps(message) + b"\n"
        with self._lock:
            self._socket.sendall(data)

    def ask(self, **message: Any) -> Mapping[str, Any]:
        """Send a question, and wait for the answer. One at a time."""
        data = orjson.dumps(message) + b"\n"
        with self._lock:
            if self._ended:
                return JOB_OVER
            self._socket.sendall(data)
            return self._answers.get()


class RemoteLog:
    """The log lines of the job, which the parent writes."""

    def __init__(self, parent: Parent, level: int) -> None:
        self.level = level
        self.source = JobLines()
        self._parent = parent

    def add(self, line: Line) -> None:
        """Send the line at once: a crash here loses none."""
        running = self._parent.running
        if running is not None:
            with suppress(OSError):  # the parent is gone
                text, name = shown(line.text, running.secrets), without_surrogates(line.logger)
                self._parent.send(log=[line.time, line.level, name, text])

    def begin(self) -> None:
        """Collect the lines of the present task, and of the steps that it starts."""
        if self.level != OFF:
            self.source.open()
            job_lines.collect(self)


class RemoteRunning(Running):
    """The `JobContext` of a handler in a process of its own."""

    def __init__(
        self,
        given: Mapping[str, Any],
        tools: Any,
        resources: Any,
        parent: Parent,
        *,
        urls: SignalUrls,
        handlers: Mapping[str, Handler],
    ) -> None:
        job: Any = {field.name: None for field in fields(Job)}
        super().__init__(
            Job(**{**job, **given}),
            tools,
            resources,
            _never,
            on_progress=self._report_soon,
            on_emit=self._send_chunk,
            urls=urls,
            handlers=handlers,
        )
        self._parent = parent
        self._loop = asyncio.get_running_loop()

    def _report_soon(self, _running: Running) -> None:
        if not self.reporting:
            self.reporting = True
            self._loop.call_soon_threadsafe(self._loop.call_later, PROGRESS_INTERVAL_S, self.report)

    def report(self) -> None:
        """Send the latest progress, unless it is sent already."""
        if self.reporting and self.latest is not None:
            self.reporting = False
            self._parent.send(progress=[self.latest.completed, self.latest.total, self.latest.message])

    def _send_chunk(self, _running: Running, data: str) -> None:
        """Send a chunk at once: the parent writes those of a moment together, and a crash here loses none."""
        self._parent.send(emit=data)

    def dispatch_with(self, handler: str, params: Mapping[str, Any], options: DispatchOptions) -> str:
        if self.over:
            raise LeaseLost(f"the job is over: {handler} would not be accepted; dispatch it before the handler returns")
        plain, encoded = self._written(handler, params), options.encoded()
        try:
            found = self._parent.ask(dispatch=handler, params=plain, options=encoded)
        except TypeError:  # a number beyond 64 bits
            raise InvalidParameters(not_json(plain)) from None
        if "over" in found:
            raise LeaseLost(found["over"])
        if "refused" in found:
            raise InvalidParameters([(path, words) for path, words in found["refused"]])
        child: str = found["dispatched"]
        return child

    def _written(self, handler: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters as JSON, also those that only pydantic writes. Raises InvalidParameters."""
        known = self._handlers.get(handler)
        if known is not None:
            return known.params.written(params)
        try:
            plain: dict[str, Any] = json.loads(to_json(params))
        except ValueError:
            raise InvalidParameters(not_json(params)) from None
        return plain


def _never(*_: Any) -> Any:
    raise NotImplementedError


def run_steps(settings: Settings, fd: int) -> int:
    """Run steps until the parent asks for no more."""
    _die_with_parent()

    async def main() -> None:
        parent = Parent(fd)
        threading.Thread(target=parent.listen, name="parent", daemon=True).start()
        order = await parent.orders.get()
        structlog.contextvars.bind_contextvars(**order["log"])
        handlers = load_handlers(settings)
        handler = handlers[order["job"]["handler"]]
        tracing = build(settings.telemetry.traces)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, tracing.close, FLUSH_S)
            writer = _writer(stack, settings)
            resources = await stack.enter_async_context(lifespan(settings, Ledger(writer)))
            tools = build_tools(settings)
            stack.push_async_callback(tools.mailer.close)
            parent.running = running = RemoteRunning(
                order["job"], tools, resources, parent, urls=signal_urls(settings), handlers=handlers
            )
            RemoteLog(parent, log_level(settings)).begin()
            await _serve_parent(parent, running, handler, tracing)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main())
    return 0


def _writer(stack: AsyncExitStack, settings: Settings) -> Writer:
    database = database_of(settings)
    stack.push_async_callback(asyncio.to_thread, database.close)
    writer = Writer(database)
    writer.start()
    stack.push_async_callback(asyncio.to_thread, writer.close)
    return writer


async def _serve_parent(parent: Parent, running: RemoteRunning, handler: Handler, tracing: Tracing) -> None:
    steps = StepRunner(
        threads=StepThreads(),
        on_wait=lambda *_: None,
        watchdog=Watchdog(Metrics()),
        timings=Timings.inherited(os.environ),
    )
    while "end" not in (order := await parent.orders.get()):
        try:
            step = _step(handler, order["run"])
            running.secrets = tuple(order.get("secrets", ()))  # struck out before a message is cut
            running.steps = tuple(
                JobStep(name, index, StepStatus.SUCCEEDED, result=result)
                for index, (name, result) in enumerate(order.get("finished", ()))
            )
            with tracing.run(f"process {step.name}", order["trace"], job=running.id, handler=running.handler):
                values = (handler.handed_on(handler.steps.index(step), order["value"]),) if "value" in order else ()
                arguments = {} if values else arguments_of(handler, order["params"], order["version"])
                parent.send(started=True)
                left_s = order["left_s"]
                running.deadline = None if left_s is None else monotonic() + left_s
                result = storable(await steps.run(running, step, *values, **arguments), handler.output_of(step))
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is the parent's to judge
            running.report()
            parent.send(error=_described(error, running.secrets))
        else:
            running.report()
            parent.send(result=result)


def _step(handler: Handler, name: str) -> Step:
    for step in handler.steps:
        if step.name == name:
            return step
    raise StepUnknown(
        f"the handler {handler.name} has no step {name} in the modules as they are now: restart the process that runs"
        " its jobs"
    )


def _described(raised: BaseException, secrets: Sequence[str]) -> dict[str, Any]:
    """Return the error as JSON, because its class cannot be sent."""
    error = outcome.cause_of(raised)
    kinds = [[_plain(name) for name in names] for names in outcome.kinds_of(raised)]
    match error:
        case Permanent():
            return {"kind": "permanent", **_said(error, secrets)}
        case InvalidParameters():
            return {"kind": "parameters", **_said(error, secrets)}
        case Unavailable():
            return {"kind": "ledger", "message": _shown(text_of(error), secrets)}
        case RetryIn():
            retry_in = [error.delay // timedelta(microseconds=1), error.charged]
            return {"kind": "retry", **_said(error, secrets), "retry_in": retry_in}
        case HandlerError():
            return {"kind": "handler", **_said(error, secrets), "kinds": kinds}
    trace = redact("".join(traceback.format_exception(raised)).rstrip(), secrets)  # before the cut, as in a log line
    return {"kind": "other", "message": _plain(trace[-TRACE_CHARACTERS:]), "kinds": kinds}


def _said(error: HandlerError, secrets: Sequence[str]) -> dict[str, str]:
    """Return the code and the message of the error."""
    return {"code": _shown(outcome.code_of(error), secrets), "message": _shown(text_of(error), secrets)}


def _shown(text: str, secrets: Sequence[str]) -> str:
    """Return the beginning of a text, redacted before it is cut: the parent reads no line that is too long."""
    return _plain(redact(text, secrets)[:TRACE_CHARACTERS])


def _plain(text: str) -> str:
    """Return the text as JSON can hold it: without lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def _die_with_parent() -> None:
    """Let the kernel kill this process with its parent, because a busy interpreter would not hear of the end."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(ProcessLookupError):
            if os.getppid() != parent:
                os._exit(1)
