"""`onward.sync`: the calls of Onward for plain code, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Awaitable, Coroutine, Generator, Iterable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

from onward.children import call_in_forks
from onward.config.settings import Settings
from onward.handlers.base import BatchRequest, JobRequest
from onward.jobs.options import Options
from onward.runtime.enqueuing import Enqueuer, open_enqueuer
from onward.storage.base import Unavailable
from onward.storage.callers import UnusableSession

if TYPE_CHECKING:
    from onward.jobs.model import JobChunk

T = TypeVar("T")
CLOSED = (
    "onward.sync was closed before this call had ended: call it again, with the same idempotency key if it has one, "
    "and close onward.sync after the last call"
)


class Sync:
    """The same for plain code, from any thread. It opens at the first call; `with onward.sync:` closes it, too."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._thread: _LoopThread | None = None
        self._renew_lock()
        call_in_forks(self._renew_lock)

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger; a later call opens it again. May be called twice.

        Calls of other threads that have not ended by then raise Unavailable.
        """
        with self._opening:
            thread, self._thread = self._thread, None
        if thread is not None and thread.pid == os.getpid():
            thread.close()

    def enqueue(
        self,
        request: JobRequest | BatchRequest,
        *,
        owner: str | int | UUID | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        expires: timedelta | None = None,
        idempotency_key: str | None = None,
        session: object = None,
    ) -> str:
        """Accept the job, or the batch, durably, and return its id, as `Onward.enqueue` does."""
        thread, options = self._open(), Options(owner, priority, run_at, expires)
        if session is None:
            return thread.run(thread.enqueuer.enqueue(request, options, idempotency_key))
        return _at_once(thread.enqueuer.request_within(session, request, options, idempotency_key))[0]

    def enqueue_many(
        self,
        requests: Iterable[JobRequest],
        *,
        owner: str | int | UUID | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        expires: timedelta | None = None,
        session: object = None,
    ) -> list[str]:
        """Accept jobs, and return their ids in order, as `Onward.enqueue_many` does."""
        thread, options = self._open(), Options(owner, priority, run_at, expires)
        if session is None:
            return thread.run(thread.enqueuer.enqueue_many(requests, options))
        return _at_once(thread.enqueuer.enqueue_within(session, requests, options))

    def cancel_batch(self, batch_id: str, *, reason: str | None = None) -> None:
        """Cancel the batch, as `Onward.cancel_batch` does."""
        thread = self._open()
        thread.run(thread.enqueuer.batches.cancel(batch_id, reason))

    def retry_batch(self, batch_id: str) -> None:
        """Retry the batch, as `Onward.retry_batch` does."""
        thread = self._open()
        thread.run(thread.enqueuer.batches.retry(batch_id))

    def result(self, job_id: str, *, timeout: timedelta | None = None) -> Any:
        """Wait until the job is over, and return its result, as `Onward.result` does."""
        thread = self._open()
        return thread.run(thread.enqueuer.result(job_id, timeout))

    def output(self, job_id: str, *, after: int | None = None) -> Generator[JobChunk, None, None]:
        """Yield the job's output as it comes, until the job is over, as `Onward.output` does."""
        thread = self._open()
        chunks = thread.enqueuer.output(job_id, after)

        async def upcoming() -> JobChunk | None:
            return await anext(chunks, None)

        def each() -> Generator[JobChunk, None, None]:
            # Nothing is to be done at its end, which may come as garbage in any thread, also in the loop's own, where a
            # wait for the loop would last for ever: the loop itself closes `chunks` when nobody holds it any more.
            while (chunk := thread.run(upcoming())) is not None:
                yield chunk

        return each()

    def signal(self, job_id: str, name: str, payload: Any = None, *, session: object = None) -> None:
        """Send the signal that a job waits for, or will wait for, as `Onward.signal` does."""
        thread = self._open()
        if session is None:
            return thread.run(thread.enqueuer.signal(job_id, name, payload))
        return _at_once(thread.enqueuer.signal_within(session, job_id, name, payload))

    def _renew_lock(self) -> None:
        self._opening = threading.Lock()  # the thread that holds it as the process is forked is not in the fork

    def _open(self) -> _LoopThread:
        with self._opening:
            if self._thread is None or self._thread.pid != os.getpid():  # after a fork its thread is not here
                self._thread = _LoopThread(self._settings)
            return self._thread


def _at_once(found: T | Awaitable[T]) -> T:
    if not isinstance(found, Awaitable):
        return found
    if isinstance(found, Coroutine):
        found.close()
    raise UnusableSession("the session is asynchronous: await the method of Onward, as in `await onward.enqueue(...)`")


class _LoopThread:
    """An event loop in a thread, with an open enqueuer."""

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        self._submitting = threading.Lock()
        self._closing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="onward-sync", daemon=True)
        self._thread.start()
        self._stack = AsyncExitStack()
        try:
            self.enqueuer: Enqueuer = self.run(self._stack.enter_async_context(open_enqueuer(settings)))
        except BaseException:
            self.close()
            raise

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine in the loop, and return its result. Raises Unavailable if the loop is closed meanwhile."""
        with self._submitting:  # not behind the cancel of all calls, where nothing would ever run it
            if self._closing:
                coroutine.close()
                raise Unavailable(CLOSED)
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return _result(future)
        except Unavailable:
            if self._closing:
                raise Unavailable(CLOSED) from None
            raise

    def close(self) -> None:
        with self._submitting:
            self._closing = True
        try:
            _result(asyncio.run_coroutine_threadsafe(self._stack.aclose(), self._loop))
        finally:
            try:
                _result(asyncio.run_coroutine_threadsafe(self._cancel_calls(), self._loop))
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()

    async def _cancel_calls(self) -> None:
        """Cancel all that still runs: threads that wait for it would do so for ever on a loop that has stopped."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._loop.shutdown_default_executor()


def _result(future: concurrent.futures.Future[T]) -> T:
    try:
        return future.result()
    except concurrent.futures.CancelledError:
        raise Unavailable(CLOSED) from None
    except BaseException:
        future.cancel()  # Ctrl-C
        raise
