"""Runs one step: an async one on the event loop, a plain one in a thread, both within the job's time limit."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from time import monotonic
from typing import Any, NoReturn

from onward.children import ForkGuard
from onward.handlers.base import Step, TimedOut
from onward.jobs.running import Running, StopReason
from onward.jobs.step_process import StepProcess
from onward.jobs.step_threads import PlainCall, StepThreads
from onward.jobs.timings import Timings
from onward.telemetry import logger
from onward.telemetry.watchdog import CurrentWork, Watchdog

MAX_WAIT_S = 86_400.0  # the longest time of one event-loop timer
EXHAUSTED = (
    "plain functions wait for a thread: too many go on past their time limit;"
    " have the handlers call job.check(), or give them process=True, and restart this process"
)


class StepRunner:
    """The event loop and the threads in which the steps of a process run.

    `on_wait` is called when a job's plain function begins to wait for a thread, and again when the function starts.
    """

    def __init__(
        self, *, threads: StepThreads, on_wait: Callable[[Running, bool], None], watchdog: Watchdog, timings: Timings
    ) -> None:
        self._threads = threads
        self._on_wait = on_wait
        self._watchdog = watchdog
        self._timings = timings
        self._forks = ForkGuard()
        self._waiting: set[Running] = set()
        self._closed = False
        self._log = logger("runner")

    async def run(self, running: Running, step: Step, /, *values: Any, **arguments: Any) -> Any:
        """Call the step with the job, the values and the arguments, and return its result.

        Raises the step's error; TimedOut past the job's limit, which moves while a plain function waits for a thread;
        CancelledError, with `running.stop` set, if the job was interrupted.
        """
        if self._closed:
            running.interrupt(StopReason.DRAIN)
            running.check()
        call = partial(step.call, running, *values, **arguments)
        if step.is_async:
            return await self._until_end(running, step, *self._start(running, step, call()))
        # In no local variable: an error's traceback refers to this frame, and each would keep the other.
        result = await self._until_end(running, step, *self._submit(running, call))
        if inspect.iscoroutine(result):  # of a decorator's plain function around an async one
            return await self._until_end(running, step, *self._start(running, step, result))
        return result

    async def _until_end(
        self,
        running: Running,
        step: Step,
        ended: asyncio.Future[Any],
        plain: PlainCall | StepProcess | None = None,
        coroutine: Coroutine[Any, Any, Any] | None = None,
    ) -> Any:
        """Wait for the step's end, and return its result. Raises as `run` does."""
        try:
            while not ended.done() and (left_s := _left_s(running, plain)) > 0:
                await _wait(ended, left_s)
            if not ended.done():
                await self._end_late(running, step, ended, plain)
        except asyncio.CancelledError:
            (plain or ended).cancel()
            raise
        finally:
            running.task, running.interrupted = None, False
            self._waiting.discard(running)
            # A task that is cancelled before its first piece never starts the coroutine, which Python would warn of.
            if coroutine is not None and ended.done():
                coroutine.close()
            elif coroutine is not None:
                ended.add_done_callback(lambda _: coroutine.close())
        try:
            return ended.result()
        except asyncio.CancelledError as error:
            running.check()
            # Taken for the end of the process, the job would be handed back and started again without end.
            raise RuntimeError("the handler awaited a task that it had cancelled itself") from error
        finally:
            del ended, plain  # as in `run`

    async def run_in_process(self, running: Running, step: Step, process: StepProcess, given: Mapping[str, Any]) -> Any:
        """Run the step in a process of its own, with the job's parameters or a value, and return its result.

        Raises as `run` does.
        """
        if self._closed:
            running.interrupt(StopReason.DRAIN)
            running.check()
        running.task = process
        run = asyncio.get_running_loop().create_task
        return await self._until_end(running, step, run(process.run(step.name, given)), process)

    def _start(
        self, running: Running, step: Step, coroutine: Coroutine[Any, Any, Any]
    ) -> tuple[asyncio.Future[Any], None, Coroutine[Any, Any, Any]]:
        work = CurrentWork(running.handler, step.name, running.id)
        watched = self._watchdog.pieces(coroutine, work, self._forks)
        running.task = task = asyncio.get_running_loop().create_task(_contain_async_exit(watched))
        return task, None, coroutine

    def _submit(self, running: Running, call: Callable[[], Any]) -> tuple[asyncio.Future[Any], PlainCall]:
        loop = asyncio.get_running_loop()

        def begin(waited_s: float) -> None:
            if running.deadline is not None:
                running.deadline += waited_s
            if running in self._waiting:
                loop.call_soon_threadsafe(self._on_start, running)

        context = contextvars.copy_context()
        running.task = plain = self._threads.submit(partial(context.run, _contain_exit, call, self._forks), begin)
        if plain.waits:
            self._waiting.add(running)
            self._on_wait(running, True)
        return plain.ended, plain

    def _on_start(self, running: Running) -> None:
        self._waiting.discard(running)
        self._on_wait(running, False)

    async def _end_late(
        self, running: Running, step: Step, ended: asyncio.Future[Any], plain: PlainCall | StepProcess | None
    ) -> None:
        """Interrupt a step that is past its limit. Raises TimedOut if it goes on all the same."""
        running.interrupt(StopReason.TIMEOUT)
        await _wait(ended, self._timings.write_retry_s)
        if not ended.done():
            self._overrun(running, step, ended, plain)

    def _overrun(
        self, running: Running, step: Step, ended: asyncio.Future[Any], plain: PlainCall | StepProcess | None
    ) -> NoReturn:
        running.overrun = ended
        if isinstance(plain, PlainCall):
            self._threads.count_as_overrun(plain)
        self._log.error("the step does not stop at its time limit, and goes on unheeded", step=step.name)
        if self._threads.exhausted:
            self._log.error(EXHAUSTED, overrun=self._threads.overrun)
        raise TimedOut("it ran longer than its time limit")

    def drain(self) -> None:
        """Hand back the jobs that wait for a thread."""
        for running in self._waiting:
            running.interrupt(StopReason.DRAIN)

    def close(self) -> None:
        """Start no further step. Threads that are busy are not waited for."""
        self._closed = True
        self._threads.close()


def _left_s(running: Running, plain: PlainCall | StepProcess | None) -> float:
    """Return the seconds until the limit; they do not pass before a plain function has started."""
    if running.deadline is None:
        return math.inf
    return running.deadline - (monotonic() if plain is None or plain.has_started else plain.submitted_at)


async def _wait(ended: asyncio.Future[Any], timeout_s: float) -> None:
    """Wait for the future's end or the timeout, as `asyncio.wait` does for many at four times the price."""
    loop = ended.get_loop()
    over = loop.create_future()

    def wake(_: object = None) -> None:
        if not over.done():
            over.set_result(None)

    ended.add_done_callback(wake)
    timer = None if timeout_s == math.inf else loop.call_later(min(timeout_s, MAX_WAIT_S), wake)
    try:
        await over
    finally:
        if timer is not None:
            timer.cancel()
        ended.remove_done_callback(wake)


async def _contain_async_exit(coroutine: Awaitable[Any]) -> Any:
    """Keep a handler's `sys.exit()` from ending the event loop."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError("the handler tried to end the process") from error


def _contain_exit(call: Callable[[], Any], forks: ForkGuard) -> Any:
    """Keep a plain function's `sys.exit()` from looking like an error of the thread, and a fork from the thread."""
    try:
        try:
            return call()
        finally:
            if forks.is_fork:
                forks.end()
    except (SystemExit, KeyboardInterrupt, StopIteration) as error:
        raise RuntimeError("the handler tried to end the process") from error
