"""Onward inside an ASGI application of its users: a lifespan, and applications to mount."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import strawberry
from starlette.requests import Request
from starlette.responses import Response

from onward.api import composition, mounts, signals, stop_signals
from onward.api.app import layers, within
from onward.api.mounted import NOT_RUNNING, GraphqlApp, LocalOnly, PagesApp, base_of, graphql_app, pages_app
from onward.api.origins import Hosts
from onward.api.request_gate import RequestGate
from onward.api.router_context import ContextGetter, Running, context_getter
from onward.api.service import Service, open_service
from onward.config.settings import Settings, SettingsError
from onward.graphql.base import SchemaError
from onward.graphql.library import Library
from onward.graphql.viewer import ViewerFunction
from onward.runtime.values import signal_urls
from onward.runtime.wiring import Runtime
from onward.telemetry import logger
from onward.web import pages


class Embedding:
    """The mounted applications of one Onward, and the service behind them."""

    def __init__(self, settings: Settings, viewer: ViewerFunction | None = None, type_prefix: str = "") -> None:
        self._settings = settings
        self._viewer = viewer
        self._type_prefix = type_prefix
        self._graphql: list[GraphqlApp] = []
        self._pages: list[PagesApp] = []
        self._mounts: list[mounts.FoundMount] = []
        self._gate: RequestGate | None = None
        self._service: Service | None = None
        self._draining: asyncio.Task[None] | None = None  # since the stop signal

    def graphql(self, schema: strawberry.Schema | None = None) -> GraphqlApp:
        """Return a new application that answers by a schema; None is the one of the settings."""
        app = GraphqlApp(schema)
        self._graphql.append(app)
        if self._service is not None:
            self._open_graphql(self._service, app)
        return app

    def pages(self, graphql: str = "") -> PagesApp:
        """Return a new application that shows the console; an empty address of GraphQL is found by itself."""
        app = PagesApp(graphql)
        self._pages.append(app)
        if self._service is not None:
            self._open_pages(self._service, app)
        return app

    @cached_property
    def library(self) -> Library:
        """The library's types for a Strawberry schema of one's own. Raises SettingsError."""
        return composition.library(self._settings, self._type_prefix)

    @cached_property
    def context(self) -> ContextGetter:
        """The context getter for Strawberry's own routers."""
        return context_getter(self._running)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[Runtime]:
        """Start what the mounted applications need, and drain it at the end. Raises SettingsError and StorageError."""
        async with AsyncExitStack() as stack:
            stack.enter_context(stop_signals.heard(self._stop))
            stack.callback(self._forget)
            service = await stack.enter_async_context(open_service(self._settings, embedded=True))
            stack.callback(self._end)
            self._service = service
            self._mounts = mounts.find(app, [*self._graphql, *self._pages])
            stack.callback(mounts.add_exact_paths(self._mounts))
            for graphql in self._graphql:
                self._open_graphql(service, graphql)
            for page in self._pages:
                self._open_pages(service, page)
            if "context" in vars(self):  # a router has it, and its first request shall not wait for a schema
                self._running()
            yield service.runtime

    def _stop(self) -> asyncio.Task[None] | None:
        """Drain before the server waits for connections: their streams end with the drain. May be called twice."""
        if self._service is not None and self._draining is None:
            logger("onward").info("draining", at_most_s=self._settings.server.drain_s)
            self._draining = asyncio.get_running_loop().create_task(self._service.drain())
            for app in (*self._graphql, *self._pages):
                app.ends = True
        return self._draining

    def _end(self) -> None:
        for app in (*self._graphql, *self._pages):
            app.stop()

    def _forget(self) -> None:
        for app in (*self._graphql, *self._pages):
            app.close()
        self._service = self._gate = self._draining = None
        self._mounts = []

    def _open_graphql(self, service: Service, app: GraphqlApp) -> None:
        gate = self._gate_of(app.schema)
        view = service.view(gate, partial(self._explorer, app))
        answer = within(layers(self._settings, gate.hosts, mounted=True), graphql_app(view))
        app.open(LocalOnly(answer) if self._is_local_only else answer)

    @property
    def _is_local_only(self) -> bool:
        auth = self._settings.auth
        return self._viewer is None and auth.mode == "open" and not auth.allow_public

    def _open_pages(self, service: Service, app: PagesApp) -> None:
        around = layers(self._settings, self._hosts(), mounted=True)
        signal = signals.answers(signal_urls(self._settings), lambda _: service.runtime)
        app.open(within(around, pages_app(partial(self._graphql_of, app), signal)))

    def _running(self) -> Running:
        """Return what a router's requests need. Raises RuntimeError before the lifespan and after it."""
        if self._service is None:
            raise RuntimeError(NOT_RUNNING)
        gate = self._gate or self._gate_of(None)
        self._service.count_by(gate)
        service = self._service
        return Running(gate, service.services, service.sessions, local_only=self._is_local_only)

    def _gate_of(self, schema: strawberry.Schema | None) -> RequestGate:
        """Return the gate of a schema; all of them count requests and connections, and take turns, together."""
        try:
            if self._gate is None:
                gate = composition.request_gate(self._settings, schema, viewer=self._viewer)
                self._gate = replace(gate, hosts=self._hosts())
                return self._gate
            shares = self._gate.operations.shares
            return replace(self._gate, operations=composition.operations(self._settings, schema, shares))
        except SchemaError as error:
            raise SettingsError(f"graphql_with: {error}") from error

    def _hosts(self) -> Hosts:
        if self._viewer is not None:
            return Hosts()
        # The test client asks a host of that name, and sockets cannot have another. No server loads it.
        return composition.hosts(self._settings, ("testserver",) if "starlette.testclient" in sys.modules else ())

    def _explorer(self, app: GraphqlApp, request: Request) -> Response:
        jobs = mounts.link(request, self._mounts, app, self._pages)
        return pages.explorer(request, base=base_of(request), jobs=jobs or "./")

    def _graphql_of(self, app: PagesApp, request: Request) -> str | None:
        """Return the address of the GraphQL that a console asks: the settings' schema, else the nearest, or None."""
        found = [
            (one.schema is not None, address.count("/"), address)
            for one in self._graphql
            if (address := mounts.link(request, self._mounts, app, [one])) is not None
        ]
        return app.graphql or (min(found, key=lambda each: each[:2])[-1] if found else None)
