"""The API's application: GraphQL, the pages, health and metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from onward.api import composition, cors, signals, status
from onward.api.headers import SecureHeaders
from onward.api.origins import Hosts
from onward.api.request_gate import RequestGate
from onward.api.service import open_service
from onward.config.settings import Settings
from onward.graphql.base import NotAuthenticated
from onward.graphql.context import Services
from onward.runtime.values import signal_urls
from onward.runtime.wiring import Runtime
from onward.telemetry import tracing
from onward.web import pages


def create_app(settings: Settings, *, embedded: bool = False) -> Starlette:
    """Build the application. Its lifespan starts every service, and drains them at the end. Raises SettingsError."""
    gate = composition.request_gate(settings)
    around = layers(settings, gate.hosts)

    @asynccontextmanager
    async def lifespan(app: Api) -> AsyncIterator[None]:
        async with open_service(settings, embedded=embedded) as service:
            view = service.view(gate, pages.explorer)
            app.state.service, app.state.view = service, view
            app.state.onward, app.state.services = service.runtime, service.services
            app.graphql = tracing.over_http(within(around, view))
            try:
                yield
            finally:
                app.graphql = None

    sees_metrics, own_metrics = _metrics_guard(gate), settings.server.workers == 1
    return Api(
        routes=[
            *status.routes(_services_of, sees_metrics, own_metrics=own_metrics),
            *pages.routes(),
            _signal_route(signals.answers(signal_urls(settings), _runtime_of)),
        ],
        middleware=around,
        exception_handlers={HTTPException: _refusal},
        lifespan=lifespan,
    )


class Api(Starlette):
    """Starlette's, with `/graphql` beside its layers and routes, which take a fifth of a mutation's time."""

    graphql: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.graphql is not None and scope["type"] != "lifespan" and _is_graphql(scope):
            scope["app"] = self
            await self.graphql(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def _refusal(_request: Request, error: Any) -> Response:
    return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)


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


def _metrics_guard(gate: RequestGate) -> status.Guard:
    async def sees_metrics(request: Request) -> bool:
        try:
            return (await gate.viewer_of(request)).visible.everything
        except NotAuthenticated:
            return False

    return sees_metrics


def _signal_route(answer: signals.Answer) -> Route:
    async def signal(request: Request) -> Response:
        return await answer(request, request.path_params["token"])

    return Route("/signal/{token}", signal, methods=["GET", "POST"], name="signal")


def _runtime_of(request: Request) -> Runtime:
    found: Runtime = request.app.state.onward
    return found


def _services_of(request: Request) -> Services:
    found: Services = request.app.state.services
    return found
