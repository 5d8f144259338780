"""The object by which any code enqueues jobs, asynchronous or not."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from onward.config.settings import Settings, SettingsError, enter
from onward.handlers.base import JobRequest
from onward.runtime.enqueuing import Enqueuer, Options, open_enqueuer
from onward.storage.callers import UnusableSession

T = TypeVar("T")


class Onward:
    """Jobs of one project, enqueued from anywhere; it runs none of them.

    `async with onward:` opens the ledger and closes it. `onward.sync` is for code without an event loop.
    """

    def __init__(self, settings: Settings) -> None:
        self.sync = Sync(settings)
        self._settings = settings
        self._context: AbstractAsyncContextManager[Enqueuer] | None = None
        self._enqueuer: Enqueuer | None = None

    @classmethod
    def from_settings(cls, file: str | Path = "settings.toml") -> Self:
        """Read the settings; nothing is opened yet. Raises SettingsError."""
        path = Path(file).absolute()
        if not path.is_dir() and path.name != "settings.toml":
            raise SettingsError(f"{file}: the file of a project's settings is named settings.toml: name that one")
        return cls(enter(path if path.is_dir() else path.parent))

    async def __aenter__(self) -> Self:
        if self._context is not None:
            raise RuntimeError("this Onward is open already: open it once, where the program starts")
        context = open_enqueuer(self._settings)
        self._context = context
        try:
            self._enqueuer = await context.__aenter__()
        except BaseException:
            self._context = None
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        context, self._context, self._enqueuer = self._context, None, None
        if context is not None:
            await context.__aexit__(None, None, None)

    async def enqueue(
        self,
        request: JobRequest,
        *,
        owner: str | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        idempotency_key: str | None = None,
        session: object = None,
    ) -> str:
        """Accept the job durably, and return its id. A job of a higher `priority` goes first.

        With a `session` the job belongs to its transaction: it is there when that commits, and only then. A session, or
        connection, is one of SQLAlchemy, psycopg, asyncpg, sqlite3 or aiosqlite, on the ledger's own database.

        The same `idempotency_key` of the same owner gives the same job. Raises InvalidParameters, UnknownHandler,
        KeyReused, UnusableSession, Unavailable.
        """
        options = Options(owner, priority, run_at)
        if session is None:
            return await self._open().enqueue(request, options, idempotency_key)
        return (await _awaited(self._open().enqueue_within(session, [request], options, idempotency_key)))[0]

    async def enqueue_many(
        self,
        requests: Iterable[JobRequest],
        *,
        owner: str | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        session: object = None,
    ) -> list[str]:
        """Accept jobs in chunks of 200 a commit, or all with that of the `session`, and return their ids in order.

        A wrong request is refused before any is accepted; after Unavailable some may be accepted.
        """
        options = Options(owner, priority, run_at)
        if session is None:
            return await self._open().enqueue_many(requests, options)
        return await _awaited(self._open().enqueue_within(session, requests, options))

    async def result(self, job_id: str, *, timeout: timedelta | None = None) -> Any:  # noqa: ASYNC109 - a public name
        """Wait until the job is over, and return its result. Raises JobFailed, NotFound, TimeoutError, Unavailable."""
        return await self._open().result(job_id, timeout)

    def _open(self) -> Enqueuer:
        if self._enqueuer is None:
            raise RuntimeError("this Onward is not open: use it inside `async with onward:`, or take onward.sync")
        return self._enqueuer


class Sync:
    """The same for plain code, from any thread. It opens at the first call; `with onward.sync:` closes it, too."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opening = threading.Lock()
        self._thread: _LoopThread | None = None

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger; a later call opens it again. May be called twice."""
        with self._opening:
            thread, self._thread = self._thread, None
        if thread is not None and thread.pid == os.getpid():
            thread.close()

    def enqueue(
        self,
        request: JobRequest,
        *,
        owner: str | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        idempotency_key: str | None = None,
        session: object = None,
    ) -> str:
        """Accept the job durably, and return its id, as `Onward.enqueue` does."""
        thread, options = self._open(), Options(owner, priority, run_at)
        if session is None:
            return thread.run(thread.enqueuer.enqueue(request, options, idempotency_key))
        return _at_once(thread.enqueuer.enqueue_within(session, [request], options, idempotency_key))[0]

    def enqueue_many(
        self,
        requests: Iterable[JobRequest],
        *,
        owner: str | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        session: object = None,
    ) -> list[str]:
        """Accept jobs, and return their ids in order, as `Onward.enqueue_many` does."""
        thread, options = self._open(), Options(owner, priority, run_at)
        if session is None:
            return thread.run(thread.enqueuer.enqueue_many(requests, options))
        return _at_once(thread.enqueuer.enqueue_within(session, requests, options))

    def result(self, job_id: str, *, timeout: timedelta | None = None) -> Any:
        """Wait until the job is over, and return its result, as `Onward.result` does."""
        thread = self._open()
        return thread.run(thread.enqueuer.result(job_id, timeout))

    def _open(self) -> _LoopThread:
        with self._opening:
            if self._thread is None or self._thread.pid != os.getpid():  # after a fork its thread is not here
                self._thread = _LoopThread(self._settings)
            return self._thread


async def _awaited(ids: list[str] | Awaitable[list[str]]) -> list[str]:
    return ids if isinstance(ids, list) else await ids


def _at_once(ids: list[str] | Awaitable[list[str]]) -> list[str]:
    if isinstance(ids, list):
        return ids
    if isinstance(ids, Coroutine):
        ids.close()
    raise UnusableSession("the session is asynchronous: use `await onward.enqueue(..., session=session)`")


class _LoopThread:
    """An event loop in a thread, with an open enqueuer."""

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
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
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C
            raise

    def close(self) -> None:
        try:
            self.run(self._stack.aclose())
            self.run(self._loop.shutdown_default_executor())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
