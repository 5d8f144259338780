"""Runs the steps of a handler with a process of its own (`process=True`), which can be killed.

A process is started for each attempt, and runs its steps one after another. Orders and results are lines of JSON
over a socket; `onward.worker.step_process` is the other end. The ledger is written here alone.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from typing import Any

import orjson

from onward.children import Child, HandedDown, shield, signal_name
from onward.handlers.base import HandlerError, InvalidParameters, Permanent, RetryIn
from onward.jobs.base import NotStarted
from onward.jobs.options import DispatchOptions
from onward.jobs.running import Running, StopReason
from onward.storage.base import Unavailable
from onward.telemetry import logger
from onward.telemetry.job_lines import Line
from onward.telemetry.tracing import Tracing

LINE_BYTES = 2**25  # of one message: parameters, a result, the text of an error
START_TIMEOUT_S = 120.0  # for the process to load its modules and enter the lifespan, on a machine that is busy
STOP_GRACE_S = 1.0  # from a cancel or the time limit until the process is killed
DRAIN_GRACE_S = 0.25  # likewise at the end of the drain, which does not wait
LOGGED = frozenset({"job", "handler", "attempt", "trace"})  # fields of each log line of the process
END_GRACE_S = 5.0  # for the process to close its resources, once its steps are done
NOT_STARTED = "the process of a handler could not be started"


class ProcessEnded(HandlerError):
    """The handler's process ended before the handler did."""

    code = "PROCESS_ENDED"


class RemoteError(HandlerError):
    """An error with a code, raised in the handler's process; `kinds` has the names of its classes, as `kinds_of`."""

    def __init__(self, message: str, code: str, kinds: list[list[str]]) -> None:
        super().__init__(message)
        self.code = code
        self.kinds = kinds


class RemoteFailure(Exception):
    """Any other error that was raised in the handler's process; its text is the traceback there."""

    def __init__(self, message: str, kinds: list[list[str]]) -> None:
        super().__init__(message)
        self.kinds = kinds


class StepProcesses:
    """The processes of the jobs that run here."""

    def __init__(self, handed_down: HandedDown, tracing: Tracing) -> None:
        self._handed_down = handed_down
        self._tracing = tracing
        self._open: set[StepProcess] = set()
        self._ending: set[asyncio.Task[None]] = set()
        shield(self._descriptors)

    def open(self, running: Running) -> StepProcess:
        """Return a process for the attempt, which is started with its first step."""
        process = StepProcess(running, self._handed_down, self._tracing)
        self._open.add(process)
        return process

    def end(self, process: StepProcess) -> None:
        """End the process: it may close its resources first if it is idle. Waits for nothing."""
        task = asyncio.create_task(self._end(process), name="step process")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, process: StepProcess) -> None:
        try:
            await process.end()
        finally:
            self._open.discard(process)

    async def close(self) -> None:
        """Kill all processes, and wait for their end."""
        for process in self._open:
            process.kill()
        await asyncio.gather(*self._ending)

    def _descriptors(self) -> Iterator[int]:
        for process in self._open:
            yield from process.descriptors()


class StepProcess:
    """The process of one attempt."""

    def __init__(self, running: Running, handed_down: HandedDown, tracing: Tracing) -> None:
        self.has_started = False
        self.submitted_at = monotonic()
        self._running = running
        self._handed_down = handed_down
        self._tracing = tracing
        self._child: Child | None = None
        self._inputs: set[int] = set()
        self._socket: socket.socket | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._killing: asyncio.TimerHandle | None = None
        self._log = logger("process")

    async def run(self, step: str, given: Mapping[str, Any]) -> Any:
        """Run the step there, and return its result.

        Raises the step's error; ProcessEnded; NotStarted; CancelledError if the process was killed for `running.stop`.
        """
        self.has_started, self.submitted_at = False, monotonic()
        is_new = self._child is None
        child = self._child or await self._start()
        starting = asyncio.get_running_loop().call_later(START_TIMEOUT_S, self._kill_unless_started)
        try:
            if is_new:
                await child.write(self._handed_down.settings)
            left_s = None if self._running.deadline is None else self._running.deadline - self.submitted_at
            self._send({"run": step, "left_s": left_s, "trace": self._tracing.current(), **given})
            while line := await self._read():
                message = orjson.loads(line)
                if "result" in message:
                    return message["result"]
                if "error" in message:
                    raise _error(**message["error"])
                self._handle_message(message)
            raise await self._end_of_process()
        finally:
            starting.cancel()

    def _kill_unless_started(self) -> None:
        if not self.has_started:
            self._log.error("the process of a handler did not come up in time", job=self._running.id)
            self.kill()

    async def _start(self) -> Child:
        from structlog.contextvars import get_contextvars  # noqa: PLC0415 - a command that runs no job does without

        try:
            ours, theirs = socket.socketpair()
        except OSError as error:  # no descriptor is left
            raise NotStarted(NOT_STARTED) from error
        try:
            command = (sys.executable, "-P", "-m", "onward.worker", "attempt", str(theirs.fileno()))
            self._socket = ours
            self._child = await Child.start(
                command,
                inputs=self._inputs,
                env=self._handed_down.environment,
                stdout=None,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
            self._reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_BYTES)
        except BaseException as error:  # a cancel, too, would leave the descriptor open
            self.kill()
            ours.close()
            if not isinstance(error, OSError):
                raise
            raise NotStarted(NOT_STARTED) from error
        finally:
            theirs.close()
        job = self._running.job
        job_fields = {"id": job.id, "handler": job.handler, "owner": job.owner, "attempt": job.attempt, "run": job.run}
        # Others have bound what they like, perhaps objects that no other process can have.
        log = {name: value for name, value in get_contextvars().items() if name in LOGGED}
        self._send({"job": job_fields, "log": log})
        if self._running.stop is not None:
            self.kill()
        return self._child

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._writer is not None:
            with suppress(OSError, RuntimeError):  # the reader notices a process that has ended
                self._writer.write(orjson.dumps(message) + b"\n")

    async def _read(self) -> bytes:
        with suppress(OSError, ValueError):  # ValueError: a line that is too long
            return await self._reader.readline()
        self.kill()
        return b""

    def _handle_message(self, message: Mapping[str, Any]) -> None:
        """Answer the process's requests while its step runs."""
        running = self._running
        if "started" in message:
            self.has_started = True
            if running.deadline is not None:
                running.deadline += monotonic() - self.submitted_at
        elif "progress" in message:
            with suppress(HandlerError):  # the handler's own check stops it
                running.progress(*message["progress"])
        elif "emit" in message:
            running.emit_json(message["emit"])
        elif "log" in message:
            if running.log is not None:
                running.log.add(Line(*message["log"]))
        elif "dispatch" in message:
            given = message["dispatch"], message["params"], DispatchOptions.decoded(message["options"])
            try:
                self._send({"dispatched": running.dispatch_with(*given)})
            except InvalidParameters as error:
                self._send({"refused": error.errors})
            except HandlerError as error:  # the job is over, or has to stop
                self._send({"over": str(error)})

    async def _end_of_process(self) -> BaseException:
        """Wait for the process's end, and return the error that describes it."""
        assert self._child is not None  # noqa: S101 - for the type checker
        self.kill()
        await self._child.exit()
        self._child.kill_group()  # what it has started, where it has died by itself
        if self._running.stop is not None:
            return asyncio.CancelledError()
        code = self._child.process.returncode or 0
        how = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with {code}"
        if not self.has_started:
            return NotStarted(f"the process of a handler {how} before it began; its own log lines say more")
        return ProcessEnded(f"the handler's process {how} before the handler had ended")

    def cancel(self) -> None:
        """Stop the step for `running.stop`, and kill the process if it goes on. May be called again."""
        if not self.has_started:
            self.kill()
        elif self._killing is None:
            reason = self._running.stop or StopReason.DRAIN
            self._send({"stop": reason.name})
            at_once = reason in (StopReason.DRAIN, StopReason.LOST)
            grace_s = DRAIN_GRACE_S if at_once else STOP_GRACE_S
            self._killing = asyncio.get_running_loop().call_later(grace_s, self.kill)

    def kill(self) -> None:
        """Kill the process and all that it has started."""
        if self._child is not None and self._child.is_up:
            self._child.kill_group()

    async def end(self) -> None:
        """End the process: closed by itself if its steps are done, killed if they are not or if it does not end."""
        if self._child is None:
            return
        if self._running.stop is None and self._child.is_up:
            self._send({"end": True})
            with suppress(TimeoutError):
                async with asyncio.timeout(END_GRACE_S):
                    await self._child.exit()
        self.kill()
        await self._child.exit()
        if self._killing is not None:
            self._killing.cancel()
        if self._writer is not None:
            self._writer.close()
        self._child.close()

    def descriptors(self) -> Iterator[int]:
        """The descriptors by which the process knows that this one lives."""
        if self._socket is not None and self._socket.fileno() >= 0:
            yield self._socket.fileno()
        yield from self._inputs


def _error(kind: str, message: str, code: str = "", kinds: Any = (), retry_in: Any = None) -> Exception:
    """Return the error that was raised in the process, as far as this one has to know it."""
    match kind:
        case "permanent":
            return Permanent(message, code)
        case "parameters":
            wrong = InvalidParameters([("", message)])
            wrong.code = code
            return wrong
        case "ledger":
            return Unavailable(message)
        case "retry":
            delay_us, charged = retry_in
            return RetryIn(timedelta(microseconds=delay_us), message, charged=charged, code=code)
        case "handler":
            return RemoteError(message, code, kinds)
    return RemoteFailure(message, kinds)
