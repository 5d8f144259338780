"""The API process: GraphQL, the pages, health and metrics, over the parts that `wiring` builds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import strawberry
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from onward.api import status
from onward.api.addresses import Addresses
from onward.api.connection_limiter import ConnectionLimiter
from onward.api.headers import SecureHeaders
from onward.api.origins import Origins
from onward.api.rates import Rates
from onward.api.request_gate import Identify, RequestGate, open_to_all
from onward.api.view import View, bearer
from onward.backends.base import Role
from onward.config.settings import Jwt, Settings, SettingsError, version
from onward.graphql.base import NotAuthenticated
from onward.graphql.context import Services
from onward.graphql.counts import Counts
from onward.graphql.execution import trusted
from onward.graphql.execution.limits import Limits
from onward.graphql.execution.operations import Operations
from onward.graphql.execution.trusted import Trusted
from onward.graphql.schema import build
from onward.runtime.loading import load
from onward.runtime.wiring import Runtime, run_process
from onward.telemetry import tracing
from onward.web import documents, pages

if TYPE_CHECKING:
    from onward.api.tokens import Keys


def create_app(settings: Settings, *, get_queries: bool = False) -> FastAPI:
    """The application. Its lifespan starts everything it needs, and drains it at the end. Raises SettingsError."""
    authenticate, addresses = viewers(settings), Addresses(settings.server.proxies)
    operations = prepared(settings)

    @asynccontextmanager
    async def lifespan(app: Api) -> AsyncIterator[None]:
        async with run_process(settings, Role.ACCEPT) as onward:
            door = RequestGate(
                parts(onward),
                operations,
                origins(settings),
                authenticate,
                addresses,
                rates(settings),
                sockets(settings),
            )
            explorer = pages.explorer if is_open(settings) else None
            app.state.onward = onward
            app.state.door = door
            app.state.parts = door.services
            app.state.view = View(door, explorer=explorer, get_queries=get_queries)
            app.ahead = None if tracing.is_recorded() else _within(layers, app.state.view)
            door.rates.start()
            try:
                yield
            finally:
                app.ahead = None
                app.state.view.close()
                await door.rates.close()

    layers = outer(settings)
    app = Api(
        title="Onward",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        telemetry=http_spans(),
        middleware=[*layers, Middleware(Graphql)],
    )

    def admits(request: Request) -> bool:
        door: RequestGate = request.app.state.door
        address = addresses.of(request.client, request.headers.get("x-forwarded-for", "").encode() or None)
        try:
            token = bearer(request.headers.get("authorization", "").encode() or None)
            return door.authenticate(token, address).visible.everything
        except NotAuthenticated:
            return False

    alone = settings.server.workers == 1
    app.router.routes += [*status.routes(_parts_of, admits, alone=alone), *pages.routes()]
    return app


def http_spans() -> TelemetryConfig:
    """FastAPI's own: a span for each request to `/graphql` over HTTP, while traces are on.

    One over the life of a WebSocket would put all of its jobs into one trace.
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


def _is_graphql(scope: Scope) -> bool:
    return bool(scope["path"] == scope.get("root_path", "") + "/graphql")


def outer(settings: Settings) -> list[Middleware]:
    """What every answer passes through, whoever gives it."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(settings.server.origins),
        allow_methods=["POST"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["Retry-After"],
        max_age=600,
    )
    return [Middleware(SecureHeaders), *([cors] if settings.server.origins else [])]


def _within(layers: Sequence[Middleware], app: ASGIApp) -> ASGIApp:
    for cls, args, kwargs in reversed(layers):
        app = cls(app, *args, **kwargs)
    return app


class Api(FastAPI):
    """FastAPI's, with `/graphql` `ahead` of it: its own layers take a tenth of a mutation's time, and add nothing here.

    Not where spans are recorded: that of a request is among what they add.
    """

    ahead: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.ahead is not None and scope["type"] != "lifespan" and _is_graphql(scope):
            scope["app"] = self
            await self.ahead(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Graphql:
    """`/graphql` goes to the view of the lifespan: before routing, which takes a fifth of a mutation's time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and _is_graphql(scope):
            await scope["app"].state.view(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def prepared(settings: Settings) -> Operations:
    """What runs operations, with the documents that are known beforehand. Raises SettingsError."""
    folder, alone = settings.gql.documents_dir, settings.gql.documents == "trusted"
    try:
        texts = trusted.read(folder) if folder else {}
        if folder and not folder.is_dir():
            raise SettingsError(f"gql.documents_dir: {folder} is no folder")
    except (OSError, trusted.BadDocument) as error:
        raise SettingsError(f"gql.documents_dir: {error}") from error
    operations = Operations(
        schema(settings)._schema,  # noqa: SLF001 - graphql-core's schema has no public name in Strawberry
        limits(settings),
        open_schema=is_open(settings),
        trusted=Trusted([*texts.values(), *(documents.documents() if alone else ())], alone=alone),
    )
    for name, text in texts.items():
        if wrong := operations.check(text):
            raise SettingsError(f"gql.documents_dir: {name} cannot be answered: {wrong}")
    return operations


def schema(settings: Settings) -> strawberry.Schema:
    """The schema with the project's own modules in it. Raises SettingsError."""
    try:
        modules = [load(name, "gql.modules") for name in settings.gql.modules]
        return build(modules, open_to_all=("registerUser",) if settings.registration.anonymous else ())
    except SettingsError:
        raise
    except Exception as error:
        if not settings.gql.modules:
            raise
        # Types that do not fit raise this and that, of Strawberry's and of graphql-core's.
        raise SettingsError(f"gql.modules: {error}") from error


def viewers(settings: Settings) -> Identify:
    """Who asks, by the settings' kind of token. Raises SettingsError where no token could be checked."""
    if settings.auth.mode == "open":
        return open_to_all
    from onward.api.tokens import Tokens  # noqa: PLC0415 - an open server starts without

    given = settings.auth.jwt
    return Tokens(keys(given), issuer=given.issuer, audience=given.audience, leeway_s=given.leeway_s)


def keys(given: Jwt) -> Keys:
    """What tokens are checked with. Raises SettingsError."""
    from onward.api import tokens  # noqa: PLC0415 - as above

    for name, path, read in (("public_key", given.public_key, tokens.public_key), ("jwks", given.jwks, tokens.key_set)):
        if path is not None:
            try:
                return read(path.read_bytes())
            except OSError as error:
                raise SettingsError(f"auth.jwt.{name}: {path} cannot be read: {error.strerror}") from error
            except tokens.UnusableKey as error:
                raise SettingsError(f"auth.jwt.{name}: {path} {error}") from error
    return tokens.secret(given.secret.get_secret_value())


def limits(settings: Settings) -> Limits:
    given = settings.gql.limits
    return Limits(
        body_bytes=given.body_bytes,
        json_depth=given.json_depth,
        tokens=given.tokens,
        depth=given.depth,
        aliases=given.aliases,
        root_mutations=given.mutations,
        directives=given.directives,
        overlaps=given.overlaps,
        fields=given.fields,
        errors=given.errors,
        timeout_s=given.timeout_s,
        init_timeout_s=given.init_timeout_s,
        idle_timeout_s=given.idle_timeout_s,
        body_timeout_s=given.body_timeout_s,
        subscriptions=given.subscriptions,
    )


def is_open(settings: Settings) -> bool:
    """Whether the schema is shown to all: introspection, suggestions of names, the explorer."""
    return settings.environment != "production"


def rates(settings: Settings) -> Rates:
    """How often one may ask. Processes count together where they have a Redis anyway."""
    redis = settings.backends.dramatiq if "dramatiq" in (settings.backend, *settings.routes.values()) else None
    return Rates(
        settings.gql.limits.requests,
        free=settings.environment == "development",
        redis_url=redis.url if redis else None,
        namespace=redis.namespace if redis else "",
    )


def sockets(settings: Settings) -> ConnectionLimiter:
    given = settings.gql.limits
    return ConnectionLimiter(given.streams, given.streams_each, free=settings.environment == "development")


def origins(settings: Settings) -> Origins:
    """Pages of our own origin. An open server trusts no name but this machine's, lest a page's own name lead here."""
    loopback = settings.auth.mode == "open" and not settings.auth.allow_public
    return Origins(settings.server.origins, hosts=() if loopback else None)


def parts(onward: Runtime) -> Services:
    """What resolvers need of the process."""
    return Services(
        version=version(),
        backend=onward.settings.backend,
        database=onward.database,
        writer=onward.writer,
        dispatcher=onward.dispatcher,
        changes=onward.change_feed,
        handlers=onward.handlers,
        counts=Counts(onward.database),
        schedule=onward.schedule,
        metrics=onward.telemetry.metrics,
        tracing=onward.telemetry.tracing,
        discloses=onward.settings.registration.disclose,
        mail_directory=letters(onward.settings),
        open_jobs=onward.settings.gql.limits.open_jobs,
    )


def letters(settings: Settings) -> Path | None:
    """The folder of messages, where they may be looked at."""
    shown = settings.environment == "development" and settings.email.transport == "file"
    return settings.email.directory if shown else None


def _parts_of(request: Request) -> Services:
    found: Services = request.app.state.parts
    return found
