"""Gathers the findings of the configured parts: each part checks itself."""

import asyncio
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from onward.api import server as serving
from onward.api.authenticators import authenticator
from onward.api.composition import operations
from onward.config.settings import Email, Log, Settings, SettingsError
from onward.dispatch.preparation import Preparation
from onward.findings import Finding, State, in_one_line
from onward.handlers.base import Handler
from onward.jobs.check import check_handlers, check_queues
from onward.runtime import backends, values
from onward.runtime import handlers as project
from onward.runtime.database import database_of
from onward.storage import check as storage
from onward.storage.engine import Database
from onward.telemetry import trace_export
from onward.telemetry.endpoint import check as check_metrics
from onward.telemetry.tracing import Tracing
from onward.worker.health import check as check_health

TOOLS = re.compile(rb"\.tools\b")


def findings(settings: Settings) -> Iterator[Finding]:
    """One or more findings for each part, as they are checked; none of them shows a secret."""
    secrets = _secrets(settings)
    for found in _findings(settings):
        yield Finding(found.part, found.state, _without(found.message, secrets), _without(found.fix, secrets))


def _findings(settings: Settings) -> Iterator[Finding]:
    with closing(database_of(settings)) as database:
        yield from storage.check(database)
        handlers, wrong = None, ""
        try:
            handlers = project.load_handlers(settings)
            preparation = Preparation(
                handlers=handlers,
                route=values.routes(settings, handlers),
                encryption=project.build_encryption(settings, handlers),
                tracing=Tracing(),
            )
        except SettingsError as error:
            key = "secrets.keys" if handlers is not None else "handlers.modules, or the module that it names"
            wrong = in_one_line(error)
            yield Finding("handlers", State.WRONG, wrong, f"correct {key}")
        else:
            yield from _handlers(settings, handlers, database)
            yield from _schedule(settings, preparation)
    if settings.handlers.lifespan:
        yield _lifespan(settings)
    yield _schema(settings, wrong)
    yield from backends.check(settings)
    email, log = settings.email, settings.log
    used = handlers is None or _name_tools(settings, handlers)
    named = email != Email(directory=settings.project / Email().directory)
    yield _email(settings) if used or named else _unused(_email(settings))
    found = project.build_log(settings).check()
    yield found if used or log != Log(path=settings.project / Log().path) else _unused(found)
    yield _auth(settings)
    traces, metrics = settings.telemetry.traces, settings.telemetry.metrics
    if traces not in {"", "console"}:
        yield trace_export.check(traces)
    if metrics:
        yield check_metrics(metrics)
    if settings.worker.health:
        yield check_health(settings.worker.health)


def _handlers(settings: Settings, handlers: Mapping[str, Handler], database: Database) -> Iterator[Finding]:
    names = sorted(handlers)
    yield Finding("handlers", State.OK, ", ".join(names))
    yield from values.check_patterns(settings, names)
    yield from values.check_unique(settings, handlers)
    yield from check_handlers(database, names)
    yield from check_queues(database, values.routes(settings, handlers).destinations)


def _schedule(settings: Settings, preparation: Preparation) -> Iterator[Finding]:
    try:
        entries = values.schedule_entries(settings, preparation)
    except SettingsError as error:
        yield Finding("schedule", State.WRONG, in_one_line(error), "correct [schedule]")
    else:
        if entries:
            yield Finding("schedule", State.OK, ", ".join(entries))


def _lifespan(settings: Settings) -> Finding:
    try:
        project.load_lifespan(settings)
    except SettingsError as error:
        _, _, words = in_one_line(error).partition(": ")
        return Finding("lifespan", State.WRONG, words, "correct handlers.lifespan, or its module")
    return Finding("lifespan", State.OK, settings.handlers.lifespan)


def _schema(settings: Settings, handlers_error: str) -> Finding:
    try:
        operations(settings)
    except Exception as error:  # noqa: BLE001 - a module of the project's may raise anything
        if in_one_line(error) == handlers_error:
            return Finding("gql", State.WARNING, "the schema needs the handlers", "correct them first, as said above")
        key, _, words = in_one_line(error).partition(": ")
        named = key if words else "gql.modules"
        fix = f"correct {named}, or its module" if named.endswith("modules") else f"correct {named}"
        return Finding("gql", State.WRONG, words or key, fix)
    return Finding("gql", State.OK, "the schema can be built")


def _email(settings: Settings) -> Finding:
    try:
        mailer = project.build_mailer(settings)
    except SettingsError as error:
        return Finding("email", State.WRONG, in_one_line(error), "correct email.sender")
    return asyncio.run(mailer.check())


def _name_tools(settings: Settings, handlers: Mapping[str, Handler]) -> bool:
    """Return whether a module of a handler, or one of the project's that is loaded with them, names `job.tools`."""
    steps = (step for one in handlers.values() for step in one.steps if step.wait is None)
    names = {*settings.handlers.modules, *(step.call.__module__ for step in steps)}
    files = {name: Path(file) for name, module in [*sys.modules.items()] if (file := getattr(module, "__file__", None))}
    ours = {
        file
        for name, file in files.items()
        if name in names or (settings.project in file.parents and "site-packages" not in file.parts)
    }
    return any(TOOLS.search(file.read_bytes()) for file in ours if file.suffix == ".py" and file.is_file())


def _unused(found: Finding) -> Finding:
    """Return the finding of a folder that the settings do not name, where no handler seems to write to it."""
    words = "no handler names job.tools"
    if found.state is State.OK:
        return Finding(found.part, State.OK, f"not in use: {words}")
    return Finding(found.part, State.WARNING, f"{found.message}, and {words}", found.fix)


def _auth(settings: Settings) -> Finding:
    if settings.auth.mode == "custom" and not settings.auth.viewer:
        words = 'mode "custom" without auth.viewer: your application gives viewer= to Onward.from_settings'
        return Finding("auth", State.WARNING, words, "name the function in auth.viewer to use `onward serve`")
    try:
        authenticator(settings)
    except SettingsError as error:
        key, _, words = str(error).partition(": ")
        return Finding("auth", State.WRONG, words, f"correct {key}")
    try:
        serving.address(settings)
    except SettingsError as error:
        return Finding("auth", State.WRONG, in_one_line(error), "correct auth.mode, or server.host")
    return Finding("auth", State.OK, f'mode "{settings.auth.mode}"')


def _secrets(settings: Settings) -> set[str]:
    urls = (settings.database.url, settings.backends.dramatiq.url, settings.telemetry.traces)
    passwords = {urlsplit(url).password or "" for url in urls}
    passwords |= {value for url in urls for name, value in parse_qsl(urlsplit(url).query) if "password" in name}
    kept = (settings.email.smtp.password, settings.auth.jwt.secret, *settings.secrets.keys)
    held = {secret.get_secret_value() for secret in kept}
    return {secret for secret in passwords | {unquote(password) for password in passwords} | held if secret}


def _without(text: str, secrets: set[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
