"""Hears of a stop when its signal arrives, in an application whose server ends the lifespan last.

A server that is told to stop waits for its open connections first, and event streams and WebSockets are open for hours.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from types import FrameType
from typing import Any

NUMBERS = (signal.SIGTERM, signal.SIGINT)
GRACE_S = 4.0  # for the lifespan to end after a drain, where the signal would have ended the process at once


@contextmanager
def heard(stop: Callable[[], asyncio.Task[None] | None]) -> Iterator[None]:
    """Call `stop` on the running loop at each of the signals, and let the server's own handler go on as before.

    Where a signal ends the process at once, as in the workers of some servers, it does so after the task that `stop`
    returns. Ignored signals are left alone, and all of them outside the main thread, where no handler can be set. A
    handler that an event loop has added is called through the loop's wake-up descriptor, whatever stands here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in NUMBERS}
    handlers = {
        number: _Handler(number, handler, stop)
        for number, handler in former.items()
        if callable(handler) or handler is signal.SIG_DFL
    }
    for number, handler in handlers.items():
        signal.signal(number, handler)
        signal.siginterrupt(number, False)  # as event loops have it
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, former[number])


class _Handler:
    """A handler in front of the former one."""

    def __init__(self, number: signal.Signals, former: Any, stop: Callable[[], asyncio.Task[None] | None]) -> None:
        self._number = number
        self._former = former
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # not that of the task which happens to run
        self._pid = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._pid and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin, context=self._context)
        elif self._former is signal.SIG_DFL:  # a forked child has this handler, and no loop
            self._end()
        if callable(self._former):
            self._former(number, frame)

    def _begin(self) -> None:
        task = self._stop()
        if self._former is not signal.SIG_DFL:
            return
        if task is None:
            self._end()
        else:
            task.add_done_callback(lambda _: self._loop.call_later(GRACE_S, self._end))

    def _end(self) -> None:
        handler: Any = signal.getsignal(self._number)
        if handler is self:  # else the lifespan has ended, and the server ends the process
            signal.signal(self._number, signal.SIG_DFL)
            signal.raise_signal(self._number)
