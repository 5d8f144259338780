"""Measures the loop's delay and names the blocking handler.

Every piece of a handler that runs on the loop, from one await to the next, is timed: so none is missed, and the handler
is known. A thread asks the loop twice a second to answer, which measures its delay; where it does not answer for a
second, the thread logs the line that it is at.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine, Generator
from time import perf_counter
from types import coroutine
from typing import Any, NamedTuple, TypeVar

from onward.children import ForkGuard
from onward.telemetry.logs import logger
from onward.telemetry.metrics import Metrics

T = TypeVar("T")
BLOCKED_S = 0.1
PROBE_INTERVAL_S = 0.5
STUCK_AFTER_S = 1.0
REPEAT_AFTER_S = 60.0  # a step is logged at most this often; the metric counts each time


class CurrentWork(NamedTuple):
    """The handler's step that runs on the loop."""

    handler: str
    step: str
    job: str


class Watchdog:
    """Watches one event loop; started from it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._now: CurrentWork | None = None
        self._logged: dict[tuple[str, str], float] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = logger("watchdog")

    def start(self) -> None:
        arguments = (asyncio.get_running_loop(), threading.get_ident())
        self._thread = threading.Thread(target=self._probe, args=arguments, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()

    @coroutine
    def pieces(self, doing: Coroutine[Any, Any, T], who: CurrentWork, forks: ForkGuard) -> Generator[Any, Any, T]:
        """Run the coroutine and time each of its pieces; end a process that one of them forked."""
        # An error's traceback refers to this frame, and each would keep the other: no variable keeps an error, nor a
        # future that may have one.
        resume, value, awaited = doing.send, None, None
        while True:
            started = perf_counter()
            self._now = who
            try:
                awaited = resume(value)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                if forks.is_fork:
                    forks.end()
                self._now = value = None
                if perf_counter() - started > BLOCKED_S:
                    self._blocked(who, perf_counter() - started)
            try:
                value = yield awaited
                resume = doing.send
            except BaseException as error:  # noqa: BLE001 - it is thrown into the coroutine
                resume, value = doing.throw, error
            finally:
                awaited = None

    def _blocked(self, who: CurrentWork, seconds: float) -> None:
        self._metrics.loop_blocked(who.handler)
        if perf_counter() - self._logged.get((who.handler, who.step), -REPEAT_AFTER_S) >= REPEAT_AFTER_S:
            self._logged[who.handler, who.step] = perf_counter()
            # In the handler's own context, which names job, handler and attempt.
            self._log.warning(
                "the handler kept the event loop; let a plain function do this, which runs in a thread",
                step=who.step,
                seconds=round(seconds, 3),
            )

    def _probe(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        answered = threading.Event()

        def answer(asked: float) -> None:
            self._metrics.loop_delayed(perf_counter() - asked)
            answered.set()

        while not self._stop.wait(PROBE_INTERVAL_S):
            answered.clear()
            try:
                loop.call_soon_threadsafe(answer, perf_counter())
            except RuntimeError:
                return  # the loop has closed
            if not answered.wait(STUCK_AFTER_S):
                self._report_blocked(thread)
            while not answered.wait(PROBE_INTERVAL_S):
                if self._stop.is_set():
                    return

    def _report_blocked(self, thread: int) -> None:
        who, frame = self._now, sys._current_frames().get(thread)  # noqa: SLF001 - the documented name
        fields = {} if who is None else {"job": who.job, "handler": who.handler, "step": who.step}
        if frame is not None:
            fields["at"] = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        self._log.error("the event loop stands still", seconds=STUCK_AFTER_S, **fields)
