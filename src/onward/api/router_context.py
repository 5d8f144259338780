"""The context of requests to Strawberry's own routers, whose schema has the library's fields among others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from strawberry.fastapi import BaseContext

from onward.api.request_gate import RequestGate
from onward.api.view import bearer
from onward.api.ws_messages import token_in
from onward.graphql.base import TOKEN_EXPIRED, BadRequest, NotAuthenticated
from onward.graphql.context import Context, Entrance, Services
from onward.graphql.viewer import Viewer
from onward.telemetry.tracing import traceparent


@dataclass(frozen=True, slots=True)
class Running:
    """The parts of a running application that requests need."""

    gate: RequestGate
    services: Services


class RouterContext(BaseContext, Entrance):
    """The library's part of a request; the caller is identified when the first field of the library asks.

    On a WebSocket that is after connection_init, whose payload may hold the token.
    """

    def __init__(self, connection: HTTPConnection, running: Running) -> None:
        super().__init__()
        self._connection = connection
        self._running = running
        self._viewer: Viewer | BadRequest | None = None
        self._asking = asyncio.Lock()

    async def enter(self, connection_params: object) -> Context:
        """The context of one field: it has a budget of its own, and its jobs are delivered at once.

        Raises BadRequest.
        """
        gate, scope = self._running.gate, self._connection.scope
        async with self._asking:
            if self._viewer is None:
                try:
                    self._viewer = self._identified(connection_params if isinstance(connection_params, Mapping) else {})
                except BadRequest as error:
                    self._viewer = error
        viewer = self._viewer
        if isinstance(viewer, BadRequest):
            raise viewer.with_traceback(None)
        if viewer.until is not None and time.time() >= viewer.until:
            raise NotAuthenticated(TOKEN_EXPIRED)
        trace = traceparent(self._header("traceparent"))
        context = gate.operations.context(self._running.services, viewer, self._address(), trace, scope["headers"])
        context.at_once = True
        return context

    def _identified(self, connection_params: Mapping[str, object]) -> Viewer:
        token = bearer(self._header("authorization"))
        if token is None and self._connection.scope["type"] == "websocket":
            token = token_in(connection_params)
        return self._running.gate.authenticate(token, self._address())

    def _address(self) -> str:
        return self._running.gate.addresses.of(self._connection.scope.get("client"), self._header("x-forwarded-for"))

    def _header(self, name: str) -> bytes | None:
        values = self._connection.headers.getlist(name)
        return ", ".join(values).encode("latin-1") if values else None


ContextGetter = Callable[[HTTPConnection], Awaitable[RouterContext]]


def context_getter(running: Callable[[], Running]) -> ContextGetter:
    """Make the context getter of a router. Its context raises what `running` raises while nothing runs."""

    async def context(connection: HTTPConnection) -> RouterContext:
        return RouterContext(connection, running())

    return context
