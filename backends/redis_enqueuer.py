"""A thread that puts messages into Redis, so that no event loop blocks."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from contextlib import suppress

from onward.backends.base import Delivery
from onward.backends.redis_broker import Broker

PIPELINE = 500


class Enqueuer:
    """Enqueues the deliveries of any number of callers; simultaneous ones share one round trip.

    Where its thread does not run, as in a process that drains, each call of `enqueue` takes a round trip of its own.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._changing = threading.Lock()  # so that the thread ends after the last request that it has to answer
        self._open = False
        self._queue: queue.SimpleQueue[tuple[Sequence[Delivery], asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._open = True
            self._thread = threading.Thread(target=self._loop, name="enqueuer", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread, once it has answered all requests. May be called twice."""
        with self._changing:
            if self._open:
                self._open = False
                self._queue.put(None)

    async def enqueue(self, deliveries: Sequence[Delivery]) -> None:
        """Enqueue all. Raises redis.RedisError, and then they may be there, all of them or none."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._changing:
            if shared := self._open:
                self._queue.put((deliveries, future))
        if shared:
            await future
        else:
            await asyncio.to_thread(self._broker.enqueue_many, deliveries)

    def _loop(self) -> None:
        going = True
        while going:
            requests = []
            n = 0
            with suppress(queue.Empty):
                request = self._queue.get()
                while request is not None:
                    requests.append(request)
                    n += len(request[0])
                    if n >= PIPELINE:
                        break
                    request = self._queue.get_nowait()
                else:
                    going = False
            if not requests:
                continue
            error: Exception | None = None
            try:
                self._broker.enqueue_many([delivery for deliveries, _ in requests for delivery in deliveries])
            except Exception as caught:  # noqa: BLE001 - the callers get any error
                error = caught
            by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
            for _, future in requests:
                by_loop.setdefault(future.get_loop(), []).append(future)
            for loop, futures in by_loop.items():
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(_resolve, futures, error)


def _resolve(futures: list[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
