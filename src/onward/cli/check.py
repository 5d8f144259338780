"""Tries every part that the settings name, and tells what is wrong and how it is mended."""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from onward.api import server as serving
from onward.api.authenticators import authenticator
from onward.api.composition import schema
from onward.config.settings import Settings, SettingsError
from onward.dispatch.dispatcher import Dispatcher
from onward.dispatch.patterns import Routes
from onward.jobs import concurrency, ledger
from onward.runtime import backends, values
from onward.runtime.handlers import build_encryption, build_mailer, load_handlers
from onward.storage import migrate
from onward.storage.base import StorageError
from onward.storage.engine import Database
from onward.storage.writer import Writer
from onward.telemetry.endpoint import Endpoint, NoPort
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing
from onward.text.patterns import matches

PROBE_TIMEOUT_S = 3.0
SAFE_SQLITE = (3, 51, 3)  # before it, a WAL reset can corrupt a file that several connections write
OLDEST_POSTGRESQL = 13


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What was found of one part, in words; for all but what is right, the mend."""

    part: str
    state: State
    message: str
    fix: str = ""


def findings(settings: Settings) -> Iterator[Finding]:
    """One or more findings for each part, as they are tried; none of them shows a secret."""
    tries: list[Callable[[Settings], Iterator[Finding]]] = [
        _database,
        _handlers,
        _schedule,
        _schema,
        _backends,
        _email,
        _log,
        _auth,
        _traces,
        _metrics,
    ]
    secrets = _secrets(settings)
    for try_part in tries:
        for found in try_part(settings):
            yield Finding(found.part, found.state, _without(found.message, secrets), _without(found.fix, secrets))


def _database(settings: Settings) -> Iterator[Finding]:
    database = Database(settings.database.url, settings.database.migrations)
    try:
        connection = database.connect()
    except StorageError as error:
        mend = "start PostgreSQL, or mend database.url" if database.dialect == "postgresql" else "mend database.url"
        yield Finding("database", State.WRONG, f"cannot be opened: {_line(error.__cause__ or error)}", mend)
        return
    try:
        yield _sqlite(database, connection) if database.dialect == "sqlite" else _postgresql(connection)
    finally:
        connection.close()
    try:
        for one in migrate.all_of(database):
            yield _tables(database, one)
    except StorageError as error:
        yield Finding("database", State.WRONG, _line(error), "correct database.migrations")
    database.close()


def _tables(database: Database, series: migrate.Migrations) -> Finding:
    """Whether the tables of one series of migrations are those of this release."""
    revision, whose = series.revision(database), "its" if series is migrate.LEDGER else "the project's"
    if revision == series.head:
        return Finding("database", State.OK, f"{whose} tables are those of this release ({revision})")
    if revision is None and database.dialect == "sqlite":
        have = "has no tables yet" if series is migrate.LEDGER else "the project's tables are not there yet"
        return Finding("database", State.OK, f"{have}; the first start makes them")
    if revision is not None and revision > series.head:
        fix = "start the newer release, or restore the ledger from before it"
        return Finding("database", State.WRONG, f"{whose} tables ({revision}) are of a newer release", fix)
    words = f"{whose} tables ({revision}) are of an older release" if revision else "has no tables yet"
    state = State.OK if database.dialect == "sqlite" else State.WRONG
    return Finding("database", state, words, "run onward migrate")


def _sqlite(database: Database, connection: object) -> Finding:
    version = str(connection.execute("SELECT sqlite_version()").fetchone()[0])  # type: ignore[attr-defined]
    words = f"SQLite {version} at {database.path}"
    if tuple(int(part) for part in version.split(".")) < SAFE_SQLITE:
        mend = "run one process only, or take PostgreSQL; a current SQLite comes with pysqlite3 on x86-64 and macOS"
        return Finding("database", State.WARNING, f"{words}: old enough to damage a file that many write", mend)
    return Finding("database", State.OK, words)


def _postgresql(connection: object) -> Finding:
    number = int(connection.execute("SHOW server_version_num").fetchone()[0])  # type: ignore[attr-defined]
    if number // 10_000 < OLDEST_POSTGRESQL:
        mend = f"take PostgreSQL {OLDEST_POSTGRESQL} or newer"
        return Finding("database", State.WRONG, f"PostgreSQL {number // 10_000} is too old", mend)
    for setting in ("fsync", "full_page_writes"):
        if connection.execute(f"SHOW {setting}").fetchone()[0] != "on":  # type: ignore[attr-defined]
            words = f"PostgreSQL may lose or damage what it has committed when the power fails ({setting} is off)"
            return Finding("database", State.WARNING, words, f"set {setting} = on in postgresql.conf")
    return Finding("database", State.OK, f"PostgreSQL {number // 10_000} answers")


def _handlers(settings: Settings) -> Iterator[Finding]:
    try:
        handlers = load_handlers(settings)
        names = sorted(handlers)
        build_encryption(settings, handlers)
    except SettingsError as error:
        mend = (
            "mend secrets.keys"
            if "secrets.keys" in str(error)
            else "mend handlers.modules, or the module that it names"
        )
        yield Finding("handlers", State.WRONG, _line(error), mend)
    else:
        yield Finding("handlers", State.OK, ", ".join(names))
        for table, patterns in (("routes", settings.routes), ("queues", settings.queues)):
            for pattern in patterns:
                if not any(matches(name, pattern) for name in names):
                    yield Finding("handlers", State.WARNING, f"none is named {pattern}", f'mend {table}."{pattern}"')
        yield from _unserved(settings, names)


def _unserved(settings: Settings, names: list[str]) -> Iterator[Finding]:
    """Handlers that are here no more, with jobs that wait for them."""
    database = Database(settings.database.url, settings.database.migrations)
    try:
        if migrate.revision(database) != migrate.HEAD:
            return
        waiting, paused = database.read_sync(
            lambda tx: (ledger.count_unknown_handlers(tx, names), {one.handler for one in concurrency.pauses(tx)})
        )
    except StorageError:  # told as the database's
        return
    finally:
        database.close()
    for name, count in waiting.items():
        jobs = "1 job waits" if count == 1 else f"{count} jobs wait"
        mend = "name its module in handlers.modules again; else each fails as HANDLER_MISSING when its turn comes"
        if name in paused:
            mend = f"{mend}, which is after ./onward jobs resume {name}"
        yield Finding("handlers", State.WARNING, f"{jobs} for {name}, which no handler here is named", mend)


def _schedule(settings: Settings) -> Iterator[Finding]:
    if not settings.schedule:
        return
    try:
        handlers = load_handlers(settings)
        dispatcher = Dispatcher(
            handlers=handlers,
            route=Routes(settings.backend, settings.routes),
            backends={},
            writer=Writer(Database(settings.database.url, settings.database.migrations)),
            encryption=build_encryption(settings, handlers),
            metrics=Metrics(),
            tracing=Tracing(),
        )
        entries = values.schedule_entries(settings, dispatcher)
    except SettingsError as error:
        yield Finding("schedule", State.WRONG, _line(error), "mend [schedule]")
    else:
        yield Finding("schedule", State.OK, ", ".join(entry.name for entry in entries))


def _schema(settings: Settings) -> Iterator[Finding]:
    try:
        schema(settings)
    except Exception as error:  # noqa: BLE001 - a module of the project's may raise anything
        yield Finding("gql", State.WRONG, _line(error), "mend gql.modules, or the module that it names")
    else:
        yield Finding("gql", State.OK, "the schema can be built")


def _backends(settings: Settings) -> Iterator[Finding]:
    for name in backends.used(settings):
        try:
            backend = backends.build_backend(settings, name, backends.ProbeRunner())
        except SettingsError as error:
            yield Finding(name, State.WRONG, _line(error), f"mend [backends.{name}]")
            continue
        found = type(backend)
        yield Finding(name, State.OK, f"{found.__module__}:{found.__qualname__}")
        if name == "dramatiq":
            yield from _redis(settings.backends.dramatiq.url)
        elif not backends.answers(backend):
            mend = f"start what it delivers to, or mend [backends.{name}]; until then its jobs are accepted, and wait"
            yield Finding(name, State.WARNING, "says that it cannot be reached", mend)
    for name in settings.backends.custom:
        if name not in backends.used(settings):
            mend = f'set backend = "{name}" above the first [table] of the file, or send handlers there by [routes]'
            yield Finding(name, State.WARNING, "has a table, and gets no jobs", mend)


def _redis(url: str) -> Iterator[Finding]:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client = redis.Redis.from_url(
        url, socket_connect_timeout=PROBE_TIMEOUT_S, socket_timeout=PROBE_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )
    try:
        server = client.info("server")
    except redis.AuthenticationError as error:
        yield Finding("redis", State.WRONG, f"refuses us: {_line(error)}", "put user and password into the URL")
        return
    except redis.RedisError as error:
        mend = "start it, mend backends.dramatiq.url, or let ./onward up start a private one"
        yield Finding("redis", State.WRONG, f"does not answer: {_line(error)}", mend)
        return
    yield Finding("redis", State.OK, f"Redis {server['redis_version']} answers")
    try:
        configured = client.config_get("appendonly", "save", "maxmemory-policy")
    except redis.RedisError:
        words = "does not tell its configuration; it should keep an append-only file and never evict"
        yield Finding("redis", State.WARNING, words, "see to appendonly yes and maxmemory-policy noeviction")
        return
    finally:
        client.close()
    if configured["appendonly"] != "yes":
        kept = "keeps snapshots only" if configured["save"] else "keeps nothing on disk"
        words = f"{kept}: after its restart waiting jobs are delivered again from the ledger, seconds later"
        yield Finding("redis", State.WARNING, words, "set appendonly yes")
    if configured["maxmemory-policy"] != "noeviction":
        words = f"may drop queues when memory is short (maxmemory-policy {configured['maxmemory-policy']})"
        yield Finding("redis", State.WARNING, words, "set maxmemory-policy noeviction")


def _email(settings: Settings) -> Iterator[Finding]:
    try:
        build_mailer(settings)
    except SettingsError as error:
        yield Finding("email", State.WRONG, _line(error), "mend email.sender")
        return
    if settings.email.transport == "file":
        yield _writable("email", settings.email.directory, "email.directory")
        return
    import aiosmtplib

    smtp = settings.email.smtp
    where = f"{smtp.host}:{smtp.port}"
    try:
        asyncio.run(_greet(settings))
    except aiosmtplib.SMTPAuthenticationError as error:
        mend = "mend email.smtp.username and email.smtp.password"
        yield Finding("email", State.WRONG, f"{where} refuses the login: {error.message}", mend)
    except (aiosmtplib.SMTPException, OSError) as error:
        mend = "mend email.smtp.host, port and tls, or start the server"
        yield Finding("email", State.WRONG, f"{where} cannot be used: {_line(error)}", mend)
    else:
        yield Finding("email", State.OK, f"{where} answers")


async def _greet(settings: Settings) -> None:
    import aiosmtplib

    smtp = settings.email.smtp
    client = aiosmtplib.SMTP(
        hostname=smtp.host,
        port=smtp.port,
        use_tls=smtp.tls == "tls",
        start_tls=smtp.tls == "starttls",
        username=smtp.username or None,
        password=smtp.password.get_secret_value() or None,
        timeout=PROBE_TIMEOUT_S,
    )
    async with client:
        await client.noop()


def _log(settings: Settings) -> Iterator[Finding]:
    path = settings.log.path
    if path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
        words, mend = (
            ("cannot be written", "give it to this user") if path.is_file() else ("is no file", "move it away")
        )
        yield Finding("log", State.WRONG, f"{path} {words}", f"{mend}, or mend log.path")
        return
    yield _writable("log", path.parent, "log.path")


def _writable(part: str, folder: Path, key: str) -> Finding:
    """Whether a file could be made there, without making any."""
    standing = next(path for path in (folder, *folder.parents) if path.exists())
    if standing.is_dir() and os.access(standing, os.W_OK | os.X_OK):
        return Finding(part, State.OK, f"{folder} can be written")
    return Finding(part, State.WRONG, f"{folder} cannot be written", f"give it to this user, or mend {key}")


def _auth(settings: Settings) -> Iterator[Finding]:
    try:
        authenticator(settings)
    except SettingsError as error:
        key, _, words = str(error).partition(": ")
        yield Finding("auth", State.WRONG, words, f"mend {key}")
        return
    try:
        serving.address(settings)
    except SettingsError as error:
        yield Finding("auth", State.WRONG, _line(error), "mend auth.mode, or server.host")
        return
    yield Finding("auth", State.OK, f'mode "{settings.auth.mode}"')


def _traces(settings: Settings) -> Iterator[Finding]:
    traces = settings.telemetry.traces
    if traces in {"", "console"}:
        return
    from onward.telemetry.recording import refusal

    where = urlsplit(traces)._replace(query="", fragment="")
    shown = where._replace(netloc=where.netloc.rpartition("@")[2]).geturl()
    if refused := refusal(traces, PROBE_TIMEOUT_S):
        mend = "start the collector, or mend telemetry.traces; jobs run meanwhile, their traces are lost"
        yield Finding("traces", State.WRONG, f"the collector at {shown} {refused}", mend)
    else:
        yield Finding("traces", State.OK, f"the collector at {shown} takes spans")


def _metrics(settings: Settings) -> Iterator[Finding]:
    address = settings.telemetry.metrics
    if not address:
        return
    try:
        endpoint = Endpoint(Metrics().registry, address)
    except NoPort as error:
        yield Finding("metrics", State.WRONG, _line(error), "mend telemetry.metrics")
        return
    endpoint.close()
    yield Finding("metrics", State.OK, f"the next process tells them at {endpoint.url}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _secrets(settings: Settings) -> set[str]:
    urls = (settings.database.url, settings.backends.dramatiq.url, settings.telemetry.traces)
    passwords = {urlsplit(url).password or "" for url in urls}
    kept = (settings.email.smtp.password, settings.auth.jwt.secret, *settings.secrets.keys)
    held = {secret.get_secret_value() for secret in kept}
    return {secret for secret in passwords | {unquote(password) for password in passwords} | held if secret}


def _without(text: str, secrets: set[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
