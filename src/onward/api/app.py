"""The API's application: GraphQL, the pages, health and metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from onward.api import composition, cors, status
from onward.api.headers import SecureHeaders
from onward.api.origins import Hosts
from onward.api.request_gate import RequestGate
from onward.api.service import open_service
from onward.config.settings import Settings
from onward.graphql.base import NotAuthenticated
from onward.graphql.context import Services
from onward.telemetry import tracing
from onward.web import pages


def create_app(settings: Settings, *, embedded: bool = False) -> FastAPI:
    """Build the application. Its lifespan starts every service, and drains them at the end. Raises SettingsError."""
    gate = composition.request_gate(settings)
    around = layers(settings, gate.hosts)

    @asynccontextmanager
    async def lifespan(app: Api) -> AsyncIterator[None]:
        async with open_service(settings, embedded=embedded) as service:
            view = service.view(gate, pages.explorer)
            app.state.service, app.state.view = service, view
            app.state.onward, app.state.services = service.runtime, service.services
            app.bypass = None if tracing.is_recorded() else within(around, view)
            try:
                yield
            finally:
                app.bypass = None

    app = Api(
        title="Onward",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        telemetry=_http_spans(),
        middleware=[*around, Middleware(Graphql)],
    )
    sees_metrics, own_metrics = _metrics_guard(gate), settings.server.workers == 1
    app.router.routes += [*status.routes(_services_of, sees_metrics, own_metrics=own_metrics), *pages.routes()]
    return app


class Api(FastAPI):
    """FastAPI's, with `/graphql` on a `bypass` around its layers: they take a tenth of a mutation's time.

    Without the bypass where spans are recorded: a request's span is made in those layers.
    """

    bypass: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.bypass is not None and scope["type"] != "lifespan" and _is_graphql(scope):
            scope["app"] = self
            await self.bypass(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Graphql:
    """Passes `/graphql` to the lifespan's view before routing, which takes a fifth of a mutation's time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and _is_graphql(scope):
            await scope["app"].state.view(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_graphql(scope: Scope) -> bool:
    return bool(scope["path"] == scope.get("root_path", "") + "/graphql")


def layers(settings: Settings, hosts: Hosts, *, mounted: bool = False) -> list[Middleware]:
    """The layers around every answer, of the view and of the routes. Where they are mounted, CORS is not ours."""
    cors_too = bool(settings.server.origins) and not mounted
    return [Middleware(SecureHeaders, hosts=hosts), *([cors.layer(settings)] if cors_too else [])]


def within(layers: Sequence[Middleware], app: ASGIApp) -> ASGIApp:
    """Return the application inside the layers, the first of which is the outermost."""
    for cls, args, kwargs in reversed(layers):
        app = cls(app, *args, **kwargs)
    return app


def _http_spans() -> TelemetryConfig:
    """FastAPI's own: a span for each request to `/graphql` over HTTP, while traces are on.

    A span over the life of a WebSocket would put all of its jobs into one trace.
    """

    def exclude(scope: Scope) -> bool:
        return scope["type"] != "http" or not _is_graphql(scope)

    return {
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,  # telemetry.traces says where they go
        "exclude": exclude,
    }


def _metrics_guard(gate: RequestGate) -> status.Guard:
    async def sees_metrics(request: Request) -> bool:
        try:
            return (await gate.viewer_of(request)).visible.everything
        except NotAuthenticated:
            return False

    return sees_metrics


def _services_of(request: Request) -> Services:
    found: Services = request.app.state.services
    return found
