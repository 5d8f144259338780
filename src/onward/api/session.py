"""A connection's viewer for as long as the connection is open, and the end of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import TypeVar

from onward.graphql.base import TOKEN_EXPIRED, BadRequest, NotAuthenticated
from onward.graphql.viewer import Viewer

T = TypeVar("T")
SESSION_ENDED = "The session has ended."
STOPS = "The server stops. Send it again in a while."
MAX_FAILURES = 2  # of the project's function, one after another: from then on nobody knows whose the connection is


class Session:
    """Ends at the viewer's `until`; and where `again` finds the viewer anew, once that finds another one.

    `again` is called once in `interval_s`, by each connection at a time of its own. It raises BadRequest.
    """

    __slots__ = ("_again", "_interval_s", "_limit", "_others", "_task", "ended", "viewer")

    def __init__(
        self, viewer: Viewer, again: Callable[[], Awaitable[Viewer]] | None = None, interval_s: float = 0.0
    ) -> None:
        self.viewer = viewer
        self.ended: BadRequest | None = None
        self._again = again
        self._interval_s = interval_s
        self._limit: asyncio.Timeout | None = None
        self._others = inf
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for the end from now on."""
        if self._again is not None:
            self._task = asyncio.create_task(self._watch(self._again), name="session")
            self._task.add_done_callback(self._unwatched)

    def close(self) -> None:
        """Look no more. May be called twice."""
        self._limit = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def end(self, error: BadRequest) -> None:
        """End the session now."""
        self.ended = error
        self._hurry()

    def is_over(self) -> bool:
        """True once the session has ended."""
        until = self.viewer.until
        return self.ended is not None or (until is not None and time.time() >= until)

    def error(self) -> BadRequest:
        """The error that a session ends with: NotAuthenticated, unless the project's function fails."""
        return self.ended or NotAuthenticated(TOKEN_EXPIRED if self._again is None else SESSION_ENDED)

    async def during(self, events: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """Pass events on until the session ends. Raises BadRequest then."""
        self.start()
        try:
            while not self.is_over():
                limit = self.limit()
                try:
                    async with limit:
                        event = await anext(events)
                except StopAsyncIteration:
                    return
                except TimeoutError:
                    if not limit.expired():  # the events' own
                        raise
                    break
                yield event
        finally:
            self.close()
        raise self.error()

    def limit(self, others: float = inf) -> asyncio.Timeout:
        """Return a time limit that ends a wait as the session ends, or at `others` on the loop's clock."""
        self._others = others
        self._limit = asyncio.timeout_at(self._deadline())
        return self._limit

    def _deadline(self) -> float | None:
        if self.ended is not None:
            return 0.0
        until = self.viewer.until
        if until is None:
            return None if self._others == inf else self._others
        return min(self._others, asyncio.get_running_loop().time() + until - time.time())

    async def _watch(self, again: Callable[[], Awaitable[Viewer]]) -> None:
        # Connections that came together, as after a restart, are not asked for together.
        await asyncio.sleep(self._interval_s * random.uniform(0.5, 1))  # noqa: S311 - no secret
        failures = 0
        while self.ended is None:
            try:
                found = await again()
            except NotAuthenticated as error:
                self.ended = error.with_traceback(None)  # whose frame holds this session
            except BadRequest as error:
                failures += 1
                self.ended = error.with_traceback(None) if failures >= MAX_FAILURES else None
            else:
                failures = 0
                if found.subject == self.viewer.subject and set(found.roles) == set(self.viewer.roles):
                    self.viewer = found  # it may last longer now
                else:
                    self.ended = NotAuthenticated(SESSION_ENDED)
            self._hurry()
            await asyncio.sleep(self._interval_s)

    def _unwatched(self, task: asyncio.Task[None]) -> None:
        """End the session with the task that asks for it: nobody would notice its end any more."""
        if self._task is task and self.ended is None:
            self.ended = NotAuthenticated(SESSION_ENDED)
            self._hurry()

    def _hurry(self) -> None:
        """Move the limit of what waits to the session's end."""
        if self._limit is not None:
            with suppress(RuntimeError):  # nothing is waited for at the moment
                self._limit.reschedule(self._deadline())


class OpenSessions:
    """The sessions of event streams and WebSockets of other servers' views, which end with the service."""

    def __init__(self) -> None:
        self._open: set[Session] = set()
        self._is_closed = False

    @contextmanager
    def hold(self, session: Session) -> Iterator[None]:
        """End the session if the service stops meanwhile, or has stopped."""
        self._open.add(session)
        if self._is_closed:
            session.end(BadRequest(STOPS, "UNAVAILABLE"))
        try:
            yield
        finally:
            self._open.discard(session)

    def close(self) -> None:
        """End the sessions, and later ones at once. May be called twice."""
        self._is_closed = True
        for session in self._open:
            session.end(BadRequest(STOPS, "UNAVAILABLE"))
