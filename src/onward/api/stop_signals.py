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

NUMBERS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def heard(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on the running loop at each of the signals, and let the server's own handler go on as before.

    Signals without a handler of Python's are left alone, and all of them outside the main thread, where none can be
    set. A handler that an event loop has added is called through the loop's wake-up descriptor, whatever stands here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, pid = asyncio.get_running_loop(), os.getpid()
    context = copy_context()  # not that of the task which happens to run
    former = {number: signal.getsignal(number) for number in NUMBERS}

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == pid and not loop.is_closed():  # a forked child has the handler, and no loop
            loop.call_soon_threadsafe(stop, context=context)
        handler = former[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    chained = [number for number, handler in former.items() if callable(handler)]
    for number in chained:
        signal.signal(number, handle)
        signal.siginterrupt(number, False)  # as event loops have it
    try:
        yield
    finally:
        for number in chained:
            if signal.getsignal(number) is handle:
                signal.signal(number, former[number])
