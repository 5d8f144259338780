"""The threads of plain functions: one for each function that runs, however many run.

A function past its time limit cannot be ended. It keeps its thread, and another thread is started for the next one, up
to a bound. From there on functions wait until a thread is free, and their time limit waits with them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any

from onward.jobs.base import NotStarted

MAX_OVERRUN = 32  # threads that are replaced: each holds its stack, and all that its function holds


class PlainCall:
    """A plain function that waits for a thread, runs there, or has ended: `ended` has its result."""

    def __init__(self, function: Callable[[], Any], on_begin: Callable[[float], None]) -> None:
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waits = False
        """No thread is free, and none may be started."""
        self.submitted_at = monotonic()
        self.has_started = False
        self._function = function
        self._on_begin = on_begin
        self._claimed = threading.Lock()  # by its thread, or by a cancel before it: never by both

    def cancel(self) -> None:
        """Prevent the start of the function. A running one goes on."""
        if self._claimed.acquire(blocking=False):
            self.ended.cancel()

    def begin(self) -> bool:
        """Run the function in the calling thread; return False if it was cancelled."""
        if not self._claimed.acquire(blocking=False):
            return False
        self._on_begin(monotonic() - self.submitted_at)
        self.has_started = True
        return True

    def run(self) -> Callable[[], None]:
        """Run the function, and return the call that signals its end on the event loop."""
        ended = self.ended
        try:
            result = self._function()
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
            failed = _Failed(ended, error)
            del self, ended  # an error's traceback refers to this frame, and each would keep the other
            return failed
        return lambda: None if ended.done() else ended.set_result(result)


class _Failed:
    """The end of a function that raised. The error is dropped once it is called."""

    def __init__(self, ended: asyncio.Future[Any], error: BaseException) -> None:
        self._ended, self._error = ended, error

    def __call__(self) -> None:
        if not self._ended.done():
            self._ended.set_exception(self._error)
        del self._ended, self._error


class StepThreads:
    """The threads of one event loop. To be called from that loop."""

    def __init__(self, max_overrun: int = MAX_OVERRUN) -> None:
        self._max_overrun = max_overrun
        self._queue: SimpleQueue[PlainCall | None] = SimpleQueue()  # None ends one thread
        self._started = 0
        self._idle = 0
        self._waiting: OrderedDict[PlainCall, None] = OrderedDict()  # the longest wait first
        self._overrun: set[PlainCall] = set()
        self._closed = False

    @property
    def overrun(self) -> int:
        """Return the number of functions that run on past their time limit."""
        return len(self._overrun)

    @property
    def exhausted(self) -> bool:
        """Return whether no further thread is started."""
        return len(self._overrun) >= self._max_overrun

    @property
    def all_overrun(self) -> bool:
        """Return whether each thread has a function that runs on past its time limit."""
        return self._started <= len(self._overrun)

    def submit(self, function: Callable[[], Any], on_begin: Callable[[float], None]) -> PlainCall:
        """Run the function in a thread; `on_begin` is called there first, with the seconds of its wait."""
        call = PlainCall(function, on_begin)
        if self._idle > 0:
            self._idle -= 1
            self._queue.put(call)
        elif not self.exhausted:
            self._start(call)
        else:
            call.waits = True
            self._waiting[call] = None
            # A cancelled one holds all that its function holds, and no thread may become free for long.
            call.ended.add_done_callback(lambda _: self._waiting.pop(call, None))
        return call

    def count_as_overrun(self, call: PlainCall) -> None:
        """Replace the thread of a function that did not end at its time limit."""
        if not call.ended.done():
            self._overrun.add(call)
            call.ended.add_done_callback(partial(self._ended, call))

    def _ended(self, call: PlainCall, ended: asyncio.Future[Any]) -> None:
        self._overrun.discard(call)
        ended.cancelled() or ended.exception()  # nobody else asks for it any more
        while not self.exhausted and (waiting := self._next_waiting()) is not None:
            try:
                self._start(waiting)
            except NotStarted:  # it waits on, as the first, for a thread that there is
                waiting.waits = True
                self._waiting[waiting] = None
                self._waiting.move_to_end(waiting, last=False)
                return

    def close(self) -> None:
        """Start no further function. Threads that are busy are not waited for."""
        self._closed = True
        for call in self._waiting:
            call.cancel()
        for _ in range(self._idle):
            self._queue.put(None)
        self._idle = 0

    def _start(self, call: PlainCall) -> None:
        arguments = (asyncio.get_running_loop(), self._queue, self._next)
        # A daemon: one that hangs keeps no process.
        try:
            threading.Thread(target=_serve, args=arguments, name="step", daemon=True).start()
        except RuntimeError as error:  # the system starts no more threads
            raise NotStarted("No thread could be started for a plain function.") from error
        self._started += 1
        self._queue.put(call)  # after it: where no thread can be started, no other one may run the call later

    def _next(self) -> None:
        """Give an idle thread its next function, or end it."""
        if (waiting := self._next_waiting()) is not None:
            self._queue.put(waiting)
        elif self._closed:
            self._queue.put(None)
        else:
            self._idle += 1

    def _next_waiting(self) -> PlainCall | None:
        """Take the function that has waited longest, without those that were cancelled; None without one."""
        while self._waiting:
            call, _ = self._waiting.popitem(last=False)
            if not call.ended.done():
                call.waits = False
                return call
        return None


def _serve(loop: asyncio.AbstractEventLoop, queue: SimpleQueue[PlainCall | None], free: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has closed
        while (call := queue.get()) is not None:
            ended = call.run() if call.begin() else None
            del call  # an idle thread holds nothing of the last job
            # Both by one call: each wakes the loop, which then wants the interpreter that this thread is using.
            loop.call_soon_threadsafe(_end, ended, free)
            del ended


def _end(ended: Callable[[], None] | None, free: Callable[[], None]) -> None:
    """Signal the end of a function, unless it was cancelled, and give its thread the next one."""
    try:
        if ended is not None:
            ended()
    finally:
        free()
