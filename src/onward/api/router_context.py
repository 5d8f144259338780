"""The context of requests to Strawberry's own routers, whose schema has the library's fields among others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from starlette.requests import HTTPConnection
from strawberry.fastapi import BaseContext

from onward.api.base import HttpError
from onward.api.headers import check_host, joined
from onward.api.mounted import NOT_LOCAL, is_local
from onward.api.request_gate import RequestGate
from onward.api.session import OpenSessions, Session
from onward.api.viewers import CustomViewers
from onward.graphql.base import BadRequest, NotAuthenticated
from onward.graphql.context import Context, ForeignRequest, Services
from onward.graphql.viewer import Viewer
from onward.telemetry.tracing import traceparent

TOO_MANY = "Too many subscriptions at once on this connection."
FOR_GOOD = frozenset({"NOT_ALLOWED", "CROSS_SITE"})


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of a running application that requests need."""

    gate: RequestGate
    services: Services
    sessions: OpenSessions = field(default_factory=OpenSessions)
    local_only: bool = False  # everyone is an admin, so only this machine is answered


class RouterContext(BaseContext, ForeignRequest):
    """The library's part of a request; the caller is identified when the first field of the library asks.

    On a WebSocket that is after connection_init, whose payload may hold the token.
    """

    def __init__(self, connection: HTTPConnection, running: Running) -> None:
        super().__init__()
        self._connection = connection
        self._running = running
        self._is_socket = connection.scope["type"] == "websocket"
        self._viewer: Viewer | BadRequest | None = None
        self._identified_at = 0.0
        self._asking = asyncio.Lock()
        self._subscriptions = 0  # that are open
        self._counted = ExitStack()  # while any is

    async def field_context(self, connection_params: object) -> Context:
        """Build the context of one root field, which has a budget of its own, and its jobs are delivered at once.

        Raises BadRequest.
        """
        gate, scope = self._running.gate, self._connection.scope
        init = connection_params if isinstance(connection_params, Mapping) else None
        async with self._asking:
            if self._viewer is None or self._is_stale():
                self._viewer = await self._identified(init)
                self._identified_at = time.monotonic()
            elif self._is_socket and isinstance(self._viewer, Viewer):
                gate.rates.count(self._address(), self._viewer.subject)
        viewer = self._viewer
        if isinstance(viewer, BadRequest):
            raise viewer.with_traceback(None)
        session = gate.session(viewer, self._connection, init)
        if session.is_over():
            raise session.error()
        trace = traceparent(joined(scope["headers"], b"traceparent"))
        context = gate.operations.context(self._running.services, viewer, self._address(), trace, scope["headers"])
        context.at_once = True
        context.lasting = partial(self._lasting, session)
        return context

    async def _identified(self, init: Mapping[str, Any] | None) -> Viewer | BadRequest:
        running, scope = self._running, self._connection.scope
        try:
            if running.local_only and not is_local(scope):
                raise HttpError(403, NOT_LOCAL, "NOT_ALLOWED")
            check_host(
                [value for name, value in scope["headers"] if name == b"host"],
                running.gate.hosts,
                scope.get("http_version", "1.1"),
            )
            return await running.gate.viewer_of(self._connection, init)
        except BadRequest as error:  # for all of the request's fields; a wrong token is counted once
            return error

    def _is_stale(self) -> bool:
        """True if the caller of an open WebSocket is to be identified again.

        That is after a failure that passes, as at a limit of requests, and where a project's own function is asked
        anew, as for a WebSocket of Onward's own server.
        """
        if not self._is_socket:
            return False
        if isinstance(self._viewer, BadRequest) and not _is_for_good(self._viewer):
            return True
        identify = self._running.gate.identify
        if not isinstance(identify, CustomViewers):
            return False
        return time.monotonic() - self._identified_at > identify.recheck_s

    async def _lasting(self, session: Session, events: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        """Pass events on until the session ends, or the service. Raises BadRequest then, and beyond a limit."""
        with self._one_more(), self._running.sessions.hold(session):
            async with aclosing(session.during(events)) as passed:
                async for event in passed:
                    yield event

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        """Count the connection with its first subscription, as Onward's own server does, and the others on it."""
        gate = self._running.gate
        if not self._subscriptions:
            gate.connection_limiter.check(self._address())
            self._counted.enter_context(gate.connection_limiter.one(self._address()))
        elif self._subscriptions >= gate.operations.limits.subscriptions:
            raise BadRequest(TOO_MANY, "TOO_MANY_OPERATIONS")
        self._subscriptions += 1
        try:
            yield
        finally:
            self._subscriptions -= 1
            if not self._subscriptions:
                self._counted.close()

    def _address(self) -> str:
        headers = self._connection.scope["headers"]
        return self._running.gate.addresses.of(self._connection.client, joined(headers, b"x-forwarded-for"))


def _is_for_good(error: BadRequest) -> bool:
    """True for a refusal that the same connection would get again."""
    return isinstance(error, NotAuthenticated) or error.code in FOR_GOOD


ContextGetter = Callable[[HTTPConnection], Awaitable[RouterContext]]


def context_getter(running: Callable[[], Running]) -> ContextGetter:
    """Make the context getter of a router. Its context raises what `running` raises while nothing runs."""

    async def context(connection: HTTPConnection) -> RouterContext:
        return RouterContext(connection, running())

    return context
