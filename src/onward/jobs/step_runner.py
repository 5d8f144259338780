"""Runs one step: an async one on the event loop, a plain one in a thread, both within the job's time limit."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any

import structlog

from onward.handlers.base import Step, TimedOut
from onward.jobs.running import Running, StopReason
from onward.jobs.timings import Timings
from onward.telemetry.watchdog import CurrentWork, Watchdog


class StepRunner:
    """The event loop and the threads in which the steps of a process run."""

    def __init__(self, *, threads: int, watchdog: Watchdog, timings: Timings) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="step")
        self._watchdog = watchdog
        self._timings = timings
        self._closed = False
        self._log = structlog.get_logger("runner")

    async def run(self, running: Running, step: Step, *values: Any, **arguments: Any) -> Any:
        """Call the step with the job, the values and the arguments, and return its result.

        Raises the step's error; TimedOut past the job's limit; CancelledError, with `running.stop` set, if the job was
        interrupted.
        """
        if self._closed:
            running.interrupt(StopReason.DRAIN)
            running.check()
        task = self._start(running, step, partial(step.call, running, *values, **arguments))
        left = None if running.deadline is None else max(running.deadline - monotonic(), 0)
        try:
            done, _ = await asyncio.wait({task}, timeout=left)
            if not done:
                running.interrupt(StopReason.TIMEOUT)
                done, _ = await asyncio.wait({task}, timeout=self._timings.write_retry_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            running.task = None
        if not done:
            self._log.error("the step does not stop at its time limit, and goes on unheeded", step=step.name)
            raise TimedOut("it ran longer than its time limit")
        try:
            return task.result()
        except asyncio.CancelledError as error:
            running.check()
            # Taken for the end of the process, the job would be handed back and started again without end.
            raise RuntimeError("the handler awaited a task that it had cancelled itself") from error

    def _start(self, running: Running, step: Step, call: Callable[[], Any]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        if not step.is_async:
            context = contextvars.copy_context()
            return loop.run_in_executor(self._threads, context.run, _contain_exit, call)
        coroutine: Coroutine[Any, Any, Any] = call()
        watched = self._watchdog.pieces(coroutine, CurrentWork(running.handler, step.name, running.id))
        running.task = task = loop.create_task(_contain_async_exit(watched))
        return task

    def close(self) -> None:
        """Start no further step. Threads that are busy are not waited for."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)


async def _contain_async_exit(coroutine: Awaitable[Any]) -> Any:
    """Keep a handler's `sys.exit()` from ending the event loop."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError("the handler tried to end the process") from error


def _contain_exit(call: Callable[[], Any]) -> Any:
    """Keep a plain function's `sys.exit()` from passing for an error of the thread."""
    try:
        return call()
    except (SystemExit, KeyboardInterrupt, StopIteration) as error:
        raise RuntimeError("the handler tried to end the process") from error
