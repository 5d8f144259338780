"""The API's objects, made from the settings and from the process's runtime."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import strawberry

from onward.api.addresses import Addresses
from onward.api.authenticators import authenticator
from onward.api.connection_limiter import ConnectionLimiter
from onward.api.origins import Hosts, Origins
from onward.api.rates import Rates
from onward.api.request_gate import RequestGate
from onward.config.settings import Settings, SettingsError, version
from onward.graphql.base import HandlerSchemaError, SchemaError
from onward.graphql.batch_states import BatchStates
from onward.graphql.context import Services
from onward.graphql.counts import Counts
from onward.graphql.execution import trusted
from onward.graphql.execution.limits import Limits
from onward.graphql.execution.operations import Operations
from onward.graphql.execution.trusted import Trusted
from onward.graphql.library import Library
from onward.graphql.meter import Shares
from onward.graphql.schema import build, served
from onward.graphql.viewer import ViewerFunction
from onward.runtime.handlers import load_handlers
from onward.runtime.loading import load
from onward.runtime.wiring import Runtime
from onward.web import documents


def request_gate(
    settings: Settings, own_schema: strawberry.Schema | None = None, *, viewer: ViewerFunction | None = None
) -> RequestGate:
    """The gate of every request, for the schema of the settings unless there is another. Raises SettingsError.

    A `viewer` given here identifies callers, whatever the settings say.
    """
    return RequestGate(
        operations(settings, own_schema),
        origins(settings),
        hosts(settings) if viewer is None else Hosts(),
        authenticator(settings, viewer),
        Addresses(settings.server.proxies),
        rates(settings),
        connection_limiter(settings),
    )


def operations(
    settings: Settings, own_schema: strawberry.Schema | None = None, shares: Shares | None = None
) -> Operations:
    """The executor of operations, with the documents that are known beforehand. Raises SettingsError.

    Give it the `shares` of an earlier one in the process.
    """
    folder, only_trusted = settings.gql.documents_dir, settings.gql.documents == "trusted"
    try:
        texts = trusted.read(folder) if folder else {}
        if folder and not folder.is_dir():
            raise SettingsError(f"gql.documents_dir: {folder} is not a folder")
    except (OSError, trusted.BadDocument) as error:
        raise SettingsError(f"gql.documents_dir: {error}") from error
    made = Operations(
        served(own_schema or schema(settings)),
        limits(settings),
        open_schema=is_open(settings),
        trusted=Trusted([*texts.values(), *(documents.documents() if only_trusted else ())], only=only_trusted),
        shares=shares,
    )
    for name, text in texts.items():
        if wrong := made.check(text):
            raise SettingsError(f"gql.documents_dir: {name} cannot be answered: {wrong}")
    return made


def schema(settings: Settings) -> strawberry.Schema:
    """The schema with the types of the project's own modules and its handlers' mutations. Raises SettingsError."""
    try:
        modules = [load(name, "gql.modules") for name in settings.gql.modules]
        return build(
            modules,
            handlers=load_handlers(settings),
            open_to_all=open_to_all(settings),
        )
    except SettingsError:
        raise
    except HandlerSchemaError as error:
        raise SettingsError(f"handlers.modules: {error}") from error
    except Exception as error:
        if not settings.gql.modules:
            raise
        # Types that do not fit raise errors of many classes, of Strawberry's and of graphql-core's.
        raise SettingsError(f"gql.modules: {error}") from error


def library(settings: Settings, prefix: str = "") -> Library:
    """The library's types, with its handlers' mutations, for a schema of one's own. Raises SettingsError."""
    try:
        return Library(load_handlers(settings).values(), prefix=prefix)
    except HandlerSchemaError as error:
        raise SettingsError(f"handlers.modules: {error}") from error
    except SchemaError as error:
        raise SettingsError(str(error)) from error


def limits(settings: Settings) -> Limits:
    """Return the limits of one request or socket."""
    table = settings.gql.limits
    return Limits(
        body_bytes=table.body_bytes,
        json_depth=table.json_depth,
        tokens=table.tokens,
        depth=table.depth,
        aliases=table.aliases,
        root_mutations=table.mutations,
        directives=table.directives,
        overlaps=table.overlaps,
        fields=table.fields,
        answer_values=table.answer_values,
        answer_bytes=table.answer_bytes,
        errors=table.errors,
        timeout_s=table.timeout_s,
        init_timeout_s=table.init_timeout_s,
        idle_timeout_s=table.idle_timeout_s,
        body_timeout_s=table.body_timeout_s,
        subscriptions=table.subscriptions,
    )


def is_open(settings: Settings) -> bool:
    """True if everyone may see the schema: introspection, suggestions of names, the explorer."""
    return settings.environment != "production"


def answers_get(settings: Settings) -> bool:
    """True if queries are answered by GET."""
    return is_open(settings) if settings.gql.get_queries is None else settings.gql.get_queries


def rates(settings: Settings) -> Rates:
    """The request counters. Processes count together where they have a Redis for their jobs."""
    redis = settings.backends.dramatiq if "dramatiq" in (settings.backend, *settings.routes.values()) else None
    return Rates(
        settings.gql.limits.requests,
        exempt_loopback=settings.environment == "development",
        redis_url=redis.url if redis else None,
        namespace=redis.namespace if redis else "",
    )


def connection_limiter(settings: Settings) -> ConnectionLimiter:
    """The limits of open WebSockets and event streams."""
    table = settings.gql.limits
    return ConnectionLimiter(table.streams, table.streams_each, exempt_loopback=settings.environment == "development")


def hosts(settings: Settings, further: Collection[str] = ()) -> Hosts:
    """Return the names that the server answers to.

    On an open loopback server those are local names, IP addresses and the `further` ones; elsewhere any.

    A web page could otherwise point its own name at this machine (DNS rebinding) and read every answer.
    """
    if settings.auth.mode == "open" and not settings.auth.allow_public:
        return Hosts.local(settings.server.origins, further)
    return Hosts()


def origins(settings: Settings) -> Origins:
    """Return the web pages that may call: those of the server's own origin, and of the origins in the settings."""
    return Origins(settings.server.origins, cookies=settings.server.cors_credentials)


def services(runtime: Runtime) -> Services:
    """The services that resolvers use."""
    return Services(
        version=version(),
        backend=runtime.settings.backend,
        database=runtime.database,
        writer=runtime.writer,
        dispatcher=runtime.dispatcher,
        changes=runtime.change_feed,
        keeper=runtime.keeper,
        handlers=runtime.handlers,
        counts=Counts(runtime.database),
        batches=BatchStates(runtime.database),
        schedules=runtime.schedules,
        out_of_threads=lambda: runtime.runner.out_of_threads,
        metrics=runtime.telemetry.metrics,
        tracing=runtime.telemetry.tracing,
        discloses=runtime.settings.registration.disclose,
        mail_directory=mail_directory(runtime.settings),
        open_jobs=runtime.settings.gql.limits.open_jobs,
        open_to_all=open_to_all(runtime.settings),
    )


def open_to_all(settings: Settings) -> tuple[str, ...]:
    """The mutations that need no token where tokens are needed."""
    return ("registerUser",) if settings.registration.anonymous else ()


def mail_directory(settings: Settings) -> Path | None:
    """The folder of sent messages, where the page may show them."""
    shown = settings.environment == "development" and settings.email.transport == "file"
    return settings.email.directory if shown else None
