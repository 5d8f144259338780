"""The settings of a project: settings.toml, overridden by environment variables.

In one file, because docs/settings.md is generated from these classes and readers look for a setting here.

The file is long because each setting is told, bounded and checked where it is declared.
"""

import codecs
import os
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as UnreadableVariable

from onward.config import extras
from onward.config.errors import SettingsError, describe, misnamed_variable, nearest, one_of, unreadable_variable
from onward.text import queues
from onward.text.patterns import is_rate

__all__ = ["Settings", "SettingsError", "enter", "load", "version"]

HIGHEST_PORT = 65_535
SECRET_CHARACTERS = 32  # as many as the digest of HS256 has bytes
# Parameters of an engine's URL that are for asyncpg's own connections, and unknown to libpq.
ASYNCPG_ALONE = frozenset(
    {
        "async_fallback",
        "command_timeout",
        "direct_tls",
        "max_cacheable_statement_size",
        "max_cached_statement_lifetime",
        "prepared_statement_cache_size",
        "statement_cache_size",
    }
)


def _address(url: str) -> str:
    """Return the URL if its host and port can be parsed. Raises ValueError."""
    try:
        _ = urlsplit(url).hostname, urlsplit(url).port
    except ValueError:
        # The exception's text repeats the value, which may be half of a password.
        raise ValueError(
            "must be a URL with a number as its port, and special characters of a password as %XX"
        ) from None
    return url


def _collector(traces: str) -> str:
    """Return the value if traces can be sent there. Raises ValueError."""
    if traces in ("", "console"):
        return traces
    if not re.match(r"https?://[^/?#]+", traces):
        raise ValueError('must be "console" or a URL that begins with http:// or https://')
    return _address(traces)


def _listener(address: str) -> str:
    """Return the address if it is HOST:PORT. Raises ValueError."""
    found = re.fullmatch(r"([\w.-]+|\[[\da-f:.]+\]):(\d{1,5})", address)
    if address and not (found and 0 < int(found[2]) <= HIGHEST_PORT):
        raise ValueError("must be HOST:PORT, as in 127.0.0.1:9464")
    return address


def _rate(text: str) -> str:
    """Return the text if it is a rate. Raises ValueError."""
    if not is_rate(text):
        raise ValueError("must be a number and s, m, h or d for its time, as in 100/m")
    return text


def _queues(text: str) -> str:
    """Return the names of queues without spaces. Raises ValueError."""
    names = [name.strip() for name in text.split(",")]
    if text and not all(queues.NAME.fullmatch(name) for name in names):
        raise ValueError(f'must be names of queues with commas between, as in gpu,default (got "{text}")')
    return ",".join(names)


def _network(name: str) -> str:
    """Return the name if it is an address or a network. Raises ValueError."""
    try:
        ip_network(name)
    except ValueError:
        raise ValueError("must be an IP address, or a network such as 10.0.0.0/8") from None
    return name


def _for_libpq(url: str) -> str:
    """Return the URL of an engine on asyncpg with libpq's parameters: `ssl` is sslmode there, with the same values."""
    before, _, query = url.partition("?")
    given = [parameter.partition("=") for parameter in query.split("&") if parameter]
    kept = [f"{'sslmode' if name == 'ssl' else name}={value}" for name, _, value in given if name not in ASYNCPG_ALONE]
    return f"{before}?{'&'.join(kept)}" if kept else before


def _database(url: str) -> str:
    """Return the URL if a ledger can be kept there, without SQLAlchemy's name of a driver. Raises ValueError."""
    if url.startswith("postgresql+asyncpg://"):
        url = _for_libpq(url)
    url = re.sub(r"^(sqlite|postgresql)\+[a-z0-9_]+(?=://)", r"\1", url)
    if url == "sqlite://" or re.match(r"sqlite:///(file:)?(:memory:|.*[?&]mode=memory)|sqlite:///$", url):
        raise ValueError("must name a file: what is in memory ends with its process, and no other process reads it")
    if not re.match(r"sqlite:///.|postgresql://.", url):
        raise ValueError(f"must begin with sqlite:/// or postgresql://{_scheme(url)}")
    return _address(url)


def _redis(url: str) -> str:
    """Return the URL if Redis can be reached by it. Raises ValueError."""
    if not re.match(r"(rediss?|unix)://.", url):
        raise ValueError(f"must begin with redis://, rediss:// or unix://{_scheme(url)}")
    return _address(url)


def _scheme(url: str) -> str:
    """The URL's scheme for a message, without the rest, which may hold a password."""
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]{0,30}:/{0,3}", url)
    return f" (got {found[0]})" if found else ""


def _module(name: str) -> str:
    """Return the name if it is a whole module name. Raises ValueError."""
    if not name or name.startswith(".") or name.endswith((".", ".py")) or re.search(r"[/\\\s:]", name):
        raise ValueError(f'must be the whole name of a module, as in "shop.orders" (got "{name}")')
    return name


def _like(pattern: str, words: str) -> AfterValidator:
    """A validator for text that matches the pattern; `words` say what is allowed."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f'must be {words} (got "{text}")')
        return text

    return AfterValidator(check)


def _schema(name: str) -> str:
    """Return the name if it needs no quotes, and is no database's own. Raises ValueError."""
    if re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) is None:
        raise ValueError("must be up to 40 small letters, digits and underscores, the first one a letter, as in onward")
    if name.startswith(("pg_", "sqlite")) or name == "information_schema":
        raise ValueError("must not be a name that the database keeps for itself: pg_..., sqlite..., information_schema")
    return name


SchemaName = Annotated[str, AfterValidator(_schema)]
DatabaseUrl = Annotated[str, Field(repr=False), AfterValidator(_database)]
RedisUrl = Annotated[str, Field(repr=False), AfterValidator(_redis)]
Network = Annotated[str, AfterValidator(_network)]
Origin = Annotated[
    str, _like(r"https?://[A-Za-z0-9.\-\[\]:]+", "a scheme and a host without a path, as in https://app.example.com")
]
HeaderName = Annotated[str, _like(r"[A-Za-z0-9!#$%&'+.^_`|~-]{1,100}", "the name of a header, as in x-tenant")]
ClassPath = Annotated[str, _like(r"[\w.]+:\w+", "package.module:Class")]
FunctionPath = Annotated[str, _like(r"([\w.]+:\w+)?", "package.module:function, or empty")]
Module = Annotated[str, AfterValidator(_module)]
QueueName = Annotated[str, _like(queues.NAME.pattern, queues.NAMED)]


class Table(BaseModel):
    """One table of settings.toml; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, allow_inf_nan=False
    )


class Server(Table):
    host: str = Field("127.0.0.1", description="the address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="the TCP port to listen on; 0 chooses a free one")
    proxies: tuple[Network, ...] = Field(
        (), description="the addresses or networks of trusted proxies: their X-Forwarded-For is used, as in 10.0.0.0/8"
    )
    origins: tuple[Origin, ...] = Field(
        (),
        description="other origins that may call the API, as in https://app.example.com; its own always may",
    )
    cors_headers: tuple[HeaderName, ...] = Field(
        (),
        description="request headers that pages of `origins` may send, as in x-tenant, beside those of tokens, tracing"
        " and GraphQL clients",
    )
    cors_credentials: bool = Field(
        False, description="whether pages of `origins` may send cookies, where they say who calls"
    )
    keep_alive_s: float = Field(
        90.0, gt=0, le=3600, description="seconds that an idle connection is kept; longer than your proxy keeps its own"
    )
    workers: int = Field(1, ge=1, le=64, description="the number of API processes that share the port")
    drain_s: float = Field(
        25.0, gt=0, le=3600, description="seconds that running jobs get at a shutdown before they go back to the queue"
    )


class Worker(Table):
    queues: Annotated[str, AfterValidator(_queues)] = Field(
        "",
        description="the queues whose jobs a process runs, also one of `serve`, with commas between, as in gpu,default;"
        " empty for all of them",
    )
    recycle_after_jobs: int = Field(
        0, ge=0, description="a worker process is replaced, without a gap, after so many jobs; 0 for never"
    )
    recycle_above_mb: int = Field(
        0, ge=0, description="likewise above so many megabytes of resident memory; 0 for any amount"
    )

    health: Annotated[str, AfterValidator(_listener)] = Field(
        "",
        description="HOST:PORT at which each worker process answers /health/live and /health/ready, or at the next free"
        " port, as in 127.0.0.1:8081; empty for none",
    )

    @property
    def taken(self) -> tuple[str, ...]:
        return tuple(self.queues.split(",")) if self.queues else ()


class Database(Table):
    url: DatabaseUrl = Field(
        "sqlite:///var/onward.db",
        description="the ledger: sqlite:///FILE, relative to the project's folder, or"
        " postgresql://USER:PASSWORD@HOST/NAME; as SQLAlchemy writes it, postgresql+asyncpg://, it is the same",
    )
    schema_: SchemaName = Field(
        "onward",
        alias="schema",
        description="the schema of the ledger's tables on PostgreSQL; in a SQLite file the prefix of their names, as in"
        " onward_jobs",
    )
    migrations: Path | None = Field(
        None, description="a folder of your Alembic migrations, for your own tables in the ledger's database"
    )


class Background(Table):
    concurrency: int = Field(32, ge=1, le=10_000, description="the most jobs that run at once in one process")


class Dramatiq(Table):
    url: RedisUrl = Field(
        "redis://127.0.0.1:6379/0",
        description="the Redis server that holds the messages: redis://, rediss:// or unix://; with"
        " ?sentinels=HOST:PORT,... the host is the name of the master that they know",
    )
    namespace: Annotated[str, _like(r"[A-Za-z0-9_.-]{1,64}", "1 to 64 letters, digits, or any of _ . -")] = Field(
        "onward", description="the prefix of this installation's keys in Redis"
    )


class CustomBackend(Table):
    """A backend of the project's own; the class receives `options` unchanged."""

    class_: ClassPath = Field(alias="class", description='the backend\'s class, as "package.module:Class"')
    options: Annotated[Mapping[str, Any], AfterValidator(MappingProxyType)] = Field(
        default_factory=dict, repr=False, description="all other keys of the table"
    )

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        return {
            **{key: table[key] for key in table if key == "class"},
            "options": {key: value for key, value in table.items() if key != "class"},
        }


class Backends(Table):
    background: Background = Field(Background(), description="tasks of the API process itself")
    dramatiq: Dramatiq = Field(Dramatiq(), description="Dramatiq workers, reached through Redis")
    custom: Annotated[Mapping[str, CustomBackend], AfterValidator(MappingProxyType)] = Field(
        default_factory=dict, description="every other [backends.NAME]"
    )

    @model_validator(mode="before")
    @classmethod
    def _gather_custom(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        ours = {"background", "dramatiq"}
        for name in table:
            if ":" in name:
                raise ValueError(f'the name of a backend must have no colon, which is for its queues (got "{name}")')
        return {
            **{name: table[name] for name in table if name in ours},
            "custom": {name: options for name, options in table.items() if name not in ours},
        }

    @property
    def names(self) -> tuple[str, ...]:
        return ("background", "dramatiq", *self.custom)


class Handlers(Table):
    modules: tuple[Module, ...] = Field(
        (), description="your modules that define handlers; the handlers are found in them"
    )
    lifespan: FunctionPath = Field(
        "",
        description='an async context manager, "package.module:function"; handlers get its value as job.resources',
    )


class Limits(Table):
    head_bytes: int = Field(
        32_000,
        ge=1_000,
        description="the most bytes in the head of a request: its URL, and its headers with 32 bytes more for each",
    )
    body_bytes: int = Field(100_000, ge=1_000, description="the most bytes in a request body")
    json_depth: int = Field(32, ge=4, le=200, description="the deepest nesting of a body's JSON")
    tokens: int = Field(1_000, ge=10, description="the most tokens in a document")
    depth: int = Field(12, ge=2, description="the deepest nesting of fields, fragments included")
    aliases: int = Field(15, ge=0, description="the most aliases in a document")
    mutations: int = Field(5, ge=1, description="the most mutation fields in a request")
    directives: int = Field(50, ge=0, description="the most directives in a document")
    fields: int = Field(500, ge=1, description="the most fields in a document, with its fragments expanded")
    overlaps: int = Field(
        5_000,
        ge=0,
        description="the most pairs of fields with the same name in the same place; each pair must be compared",
    )
    answer_values: int = Field(
        100_000,
        ge=1_000,
        description="the most values in an answer: scalars and objects, each page by its length before it is read",
    )
    answer_bytes: int = Field(
        8_000_000, ge=100_000, description="the most bytes of an answer, and of the jobs that are read for it"
    )
    errors: int = Field(5, ge=1, description="the most errors in an answer")
    timeout_s: float = Field(10.0, gt=0, description="seconds that a query or mutation may take")
    head_timeout_s: float = Field(10.0, gt=0, description="seconds that a connection may take to send a head")
    body_timeout_s: float = Field(20.0, gt=0, description="seconds that a request's body may take to arrive")
    subscriptions: int = Field(20, ge=1, description="the most subscriptions on one WebSocket")
    init_timeout_s: float = Field(10.0, gt=0, description="seconds that a WebSocket may take to be initialised")
    idle_timeout_s: float = Field(
        600.0,
        gt=0,
        description="seconds after which a WebSocket without operations is closed, and one that waits for events gets a"
        " ping",
    )
    streams: int = Field(
        10_000, ge=0, description="the most WebSockets and event streams of one process; 0 for no limit"
    )
    streams_each: int = Field(
        200,
        ge=0,
        description="the most WebSockets and event streams from one address, except loopback in development and a Unix"
        " socket; 0 for no limit",
    )
    requests: int = Field(
        6_000,
        ge=0,
        description="the most requests a minute of one viewer, or of one address without a token, except loopback in"
        " development; 0 for no limit. Processes count together where they share a Redis, else each by itself",
    )
    open_jobs: int = Field(
        10_000,
        ge=0,
        description="the most unfinished jobs of one viewer, and of one handler by callers without a token;"
        " 0 for no limit",
    )


class Gql(Table):
    modules: tuple[Module, ...] = Field(
        (), description="your modules that add to the schema; each exports Query, Mutation or Subscription"
    )
    get_queries: bool | None = Field(
        None,
        description="whether queries are answered by GET, too; left out: in development only, since proxies log a URL,"
        " and with it the query's variables",
    )
    limits: Limits = Field(Limits(), description="the limits of a request")
    documents: Literal["any", "trusted"] = Field(
        "any",
        description='the documents that are executed: "any", or "trusted" (in documents_dir, or of the console)',
    )
    documents_dir: Path | None = Field(
        None,
        description="the folder of trusted documents: .graphql files, or .json files that map a SHA-256 to its text",
    )


class Smtp(Table):
    host: str = Field("127.0.0.1", description="the mail server")
    port: int = Field(25, ge=1, le=65535, description="its port")
    tls: Literal["none", "starttls", "tls"] = Field("none", description="the encryption of the connection")
    username: str = Field("", description="the account's name; empty for no login")
    password: SecretStr = Field(SecretStr(""), description="the account's password")
    timeout_s: float = Field(15.0, gt=0, description="seconds that the server may take for each answer")


class Email(Table):
    transport: Literal["file", "smtp"] = Field(
        "file", description="the way messages are sent: into files, or to a mail server"
    )
    directory: Path = Field(
        Path("var/mail"), description="the folder for messages, an .eml file each; no retention covers it"
    )
    sender: str = Field("Onward <no-reply@localhost>", min_length=3, description="the sender of all messages")
    smtp: Smtp = Field(Smtp(), description="the mail server")


class Log(Table):
    path: Path = Field(Path("var/notifications.jsonl"), description="the file of notifications, one JSON object a line")
    job_level: Literal["debug", "info", "warning", "error", "off"] = Field(
        "info",
        description="the least level of the log lines that are kept with their job, among those that Python's logging"
        ' lets through; "off" keeps none',
    )


class Jwt(Table):
    secret: SecretStr = Field(SecretStr(""), description="the HS256 secret, 32 characters or more")
    public_key: Path | None = Field(None, description="the file of the RS256 or ES256 public key, in PEM")
    jwks: Path | None = Field(None, description="the file of the public keys, as a JWK set")
    issuer: str = Field("", description="the required `iss` of a token; empty accepts any")
    audience: str = Field("", description="the required `aud` of a token; empty accepts any")
    subject: str = Field(
        "sub", min_length=1, description="the claim that holds the subject; a dot leads into a nested claim"
    )
    roles: str = Field(
        "roles", min_length=1, description="the claim that holds the list of roles, as in realm_access.roles"
    )
    leeway_s: float = Field(5.0, ge=0, le=300, description="seconds by which the issuer's clock may differ")


class Auth(Table):
    mode: Literal["open", "jwt", "custom"] = Field(
        "open",
        description='the callers that are accepted: "open" (anyone), "jwt" (those with a valid token), or "custom"'
        " (those whom your function knows)",
    )
    viewer: FunctionPath = Field(
        "",
        description='with mode "custom", your function from a connection to its viewer, as "package.module:function";'
        " an application that embeds Onward may give viewer= instead",
    )
    viewer_timeout_s: float = Field(5.0, gt=0, le=60, description="seconds that your function may take")
    recheck_s: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="seconds between two calls of your function for an open WebSocket or event stream: it ends where"
        " its viewer has changed",
    )
    allow_public: bool = Field(
        default=False, description='allow mode "open" on an address that other machines can reach'
    )
    jwt: Jwt = Field(Jwt(), description="the checks of a token")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        keys = [bool(self.jwt.secret.get_secret_value()), self.jwt.public_key is not None, self.jwt.jwks is not None]
        if self.mode == "jwt" and sum(keys) != 1:
            raise ValueError('needs exactly one of jwt.secret, jwt.public_key and jwt.jwks with mode "jwt"')
        if self.viewer and self.mode != "custom":
            raise ValueError(f'needs mode "custom" for the function in viewer (got "{self.mode}")')
        if keys[0] and len(self.jwt.secret.get_secret_value()) < SECRET_CHARACTERS:
            raise ValueError(f"needs a jwt.secret of {SECRET_CHARACTERS} characters or more")
        return self


class Registration(Table):
    anonymous: bool = Field(default=False, description='with auth.mode "jwt" or "custom", allow registration by nobody')
    disclose: bool = Field(default=True, description="let registerUser say that an address is already registered")


class Secrets(Table):
    keys: tuple[SecretStr, ...] = Field(
        (), description="the keys that encrypt handlers' secret parameters: the first one encrypts, all of them decrypt"
    )


class Signals(Table):
    secret: tuple[Annotated[SecretStr, Field(min_length=32)], ...] = Field(
        (),
        description="the keys that sign the addresses of signals, of 32 characters or more: the first one signs, all of"
        " them verify",
    )
    url: str = Field(
        "",
        description="the address of signals as others reach it, as in https://shop.example/signal; below the console"
        " where that is mounted, as in https://shop.example/jobs/signal; empty for that of `onward serve` itself",
    )


class Retention(Table):
    jobs_days: float = Field(
        30.0, ge=0, le=100_000, description="days for which finished jobs are kept; 0 keeps them for ever"
    )
    keys_days: float = Field(
        60.0, ge=0, le=100_000, description="days for which idempotency keys are kept; 0 keeps them for ever"
    )


class Recurring(Table):
    """A recurring job; its name is that of its table."""

    handler: str = Field(description="the handler that does the job")
    cron: str = Field(
        description="the times of the job, in cron's form: minute, hour, day of month, month, day of week"
    )
    timezone: str = Field(
        "UTC",
        validation_alias=AliasChoices("timezone", "time_zone"),  # as the command and the schema spell it
        description="the time zone of `cron`, as in Europe/Berlin",
    )
    params: Annotated[Mapping[str, Any], AfterValidator(MappingProxyType)] = Field(
        default_factory=dict, description="a parameter of the handler"
    )
    missed: Literal["once", "skip"] = Field(
        "once",
        description='after times at which no process ran: "once" makes one job for all of them, "skip" none',
    )
    overlap: Literal["allow", "skip", "cancel_last"] = Field(
        "allow",
        description='at a time whose last job is not over: "allow" makes the next one all the same, "skip" makes none,'
        ' "cancel_last" cancels the last one',
    )


class Queue(Table):
    """Queue, priority and limits of the jobs of a handler, or of a family of them; its name is that of its table."""

    priority: int = Field(
        0,
        ge=-1_000,
        le=1_000,
        description="jobs of a higher priority go first; a job keeps the priority that it was accepted with",
    )
    concurrency: int | None = Field(
        None, ge=1, le=100_000, description="the most jobs of one handler that run at once, in all processes together"
    )
    rate: Annotated[str, AfterValidator(_rate)] | None = Field(
        None, description="the most jobs of one handler that begin in any second, minute, hour or day, as in 100/m"
    )
    queue: QueueName | None = Field(
        None,
        description="the queue of the jobs, which only processes that take it run; left out, that of the handler, and"
        ' "default" without one',
    )


class Telemetry(Table):
    traces: Annotated[str, AfterValidator(_collector)] = Field(
        "",
        description='the destination of traces: empty for none, "console" for standard error,'
        " or the URL of an OpenTelemetry collector, as in http://127.0.0.1:4318",
    )
    metrics: Annotated[str, AfterValidator(_listener)] = Field(
        "",
        description="the address at which a process serves its metrics, as in 127.0.0.1:9464; each further process"
        " takes the next free port; empty for none",
    )


class Settings(BaseSettings):
    """The validated settings: immutable plain values, with absolute paths."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        env_prefix="ONWARD_",
        env_prefix_target="all",  # [register] is an alias: pydantic has a `register` of its own
        env_nested_delimiter="__",
    )

    project: Path = Field(Path(), description="the folder of settings.toml")
    backend: str = Field("background", description="the backend that jobs are delivered to")
    environment: Literal["development", "production"] = Field(
        "development", description='"production" enables stricter checks and hides the schema'
    )
    server: Server = Field(Server(), description="the API's address and shutdown")
    worker: Worker = Field(Worker(), description="worker processes")
    database: Database = Field(Database(), description="the ledger")
    backends: Backends = Field(default_factory=Backends, description="each backend's own options")
    routes: Annotated[Mapping[str, str], AfterValidator(MappingProxyType)] = Field(
        default_factory=dict, description="a handler's name, or a pattern with *; its value is the backend of its jobs"
    )
    queues: Annotated[Mapping[str, Queue], AfterValidator(MappingProxyType)] = Field(
        default_factory=dict, description="a handler's name, or a pattern with *, a table each"
    )
    handlers: Handlers = Field(Handlers(), description="the handlers of jobs")
    gql: Gql = Field(Gql(), description="the GraphQL API")
    email: Email = Field(Email(), description="how messages are sent")
    log: Log = Field(Log(), description="the log of notifications, and the log lines of jobs")
    auth: Auth = Field(Auth(), description="authentication")
    registration: Registration = Field(Registration(), alias="register", description="rules of registerUser")
    schedule: Annotated[Mapping[str, Recurring], AfterValidator(MappingProxyType)] = Field(
        default_factory=dict, description="recurring jobs, a table each"
    )
    retention: Retention = Field(Retention(), description="the time for which data is kept")
    telemetry: Telemetry = Field(Telemetry(), description="traces and metrics")
    secrets: Secrets = Field(Secrets(), description="encryption of handlers' secret parameters")
    signals: Signals = Field(Signals(), description="addresses by which jobs that wait are signalled")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        chosen = {"backend": self.backend, **{f'routes."{pattern}"': name for pattern, name in self.routes.items()}}
        for key, name in chosen.items():
            if name not in self.backends.names:
                raise ValueError(
                    f'{key} must be {one_of(self.backends.names)} (got "{name}"){nearest(name, self.backends.names)}'
                )
        if self.environment == "production" and self.auth.mode == "open" and not self.auth.allow_public:
            raise ValueError(
                'auth.mode must be "jwt" or "custom" in production (got "open"); auth.allow_public = true allows "open"'
            )
        if self.gql.documents == "trusted" and self.gql.documents_dir is None:
            raise ValueError('gql.documents_dir must name a folder of documents where gql.documents is "trusted"')
        if 0 < self.retention.keys_days < self.retention.jobs_days:
            raise ValueError("retention.keys_days must be at least retention.jobs_days: keys outlive their jobs")
        return self


def load(project: Path | None = None, given_by: str = "command line", /, **overrides: Any) -> Settings:
    """Load the settings of `project`; None means the folder in ONWARD_PROJECT, else the current one.

    `overrides` win over the environment, which wins over the file; messages name `given_by` as their place.

    Raises:
        SettingsError: in one line, with the wrong key and its allowed values.

    """
    folder = project or Path(os.environ.get("ONWARD_PROJECT") or Path.cwd())
    return _load(folder.absolute(), os.environ, overrides, given_by)


def load_without_environment(project: Path, /, **overrides: Any) -> Settings:
    """Load the settings of `project` as if no variable of the environment were set; for tests. Raises SettingsError."""
    return _load(project.absolute(), {}, overrides, "command line")


def _file_in(folder: Path) -> Path:
    """Return the file of the settings. Raises SettingsError."""
    file = folder / "settings.toml"
    if not folder.is_dir():
        raise SettingsError(f"{folder} is not a folder: name the folder of settings.toml")
    if file.is_dir():
        raise SettingsError(f"{file} is a folder, and must be a file: rename the folder")
    if not file.is_file():
        raise SettingsError(
            f"{file} is missing: name its folder, by --project or in Onward.from_settings, or write a project by"
            " `onward new project NAME`"
        )
    return file


def _load(folder: Path, environ: Mapping[str, str], overrides: Mapping[str, Any], given_by: str) -> Settings:
    """Load the settings of a folder; without any variables in `environ`, those of the process do not count either."""
    file = _file_in(folder)
    if problem := misnamed_variable(Settings, environ):
        raise SettingsError(problem)

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - one place beside the environment is enough
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            _check_encoding(file)
            toml = TomlConfigSettingsSource(settings_cls, file)
            if "project" in toml.toml_data:
                raise SettingsError(f"{file}: project is not a setting; --project names the folder of this file")
            return (init_settings, env_settings, toml) if environ else (init_settings, toml)

    if "project" in overrides:
        raise SettingsError("project is not a setting; name the file of the project's settings")
    try:
        return _anchored(FromFile(**{**overrides, "project": folder}), folder)
    except ValidationError as error:
        words = describe(error, Settings, file=file, environ=environ, overrides=overrides, given_by=given_by)
        raise SettingsError(words) from error
    except UnreadableVariable as error:
        raise SettingsError(unreadable_variable(Settings, environ) or " ".join(str(error).split())) from error
    except (OSError, ValueError) as error:  # the file cannot be read, is no UTF-8, or no TOML
        message = " ".join(str(error).split())
        hint = '; text stands in quotes, as in backend = "dramatiq"' if message.startswith("Invalid value") else ""
        raise SettingsError(f"{file} cannot be read: {message}{hint}") from error


def _check_encoding(file: Path) -> None:
    """Raise SettingsError for what some editors put before a text, and for UTF-16."""
    with file.open("rb") as opened:
        first = opened.read(4)
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in first:
        raise SettingsError(f"{file} is written in UTF-16: save it as UTF-8")
    if first.startswith(codecs.BOM_UTF8):
        raise SettingsError(f"{file} begins with a byte order mark: save it as UTF-8 without one (a BOM)")


@cache
def version() -> str:
    """Return this release's version, from the installed package's metadata: the whole README is parsed for it."""
    return metadata.version("onward")


def enter(project: Path | None = None, given_by: str = "command line", /, **overrides: Any) -> Settings:
    """Load the settings and make the project's modules importable.

    Its folder comes last, so that nothing in it hides a module of ours or of a library. May be called twice.
    Raises SettingsError, also where a setting needs an extra that is not installed.
    """
    settings = load(project, given_by, **overrides)
    if problem := extras.missing(settings):
        raise SettingsError(problem)
    make_importable(settings.project)
    return settings


def make_importable(folder: Path) -> None:
    """Append the project's folder to the import path. May be called twice."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _anchored(settings: Settings, folder: Path) -> Settings:
    """Return the settings with every path made absolute, relative to the project's folder."""
    url, auth = settings.database.url, settings.auth
    if url.startswith("sqlite:///"):
        url = f"sqlite:///{folder / url.removeprefix('sqlite:///')}"
    keys = {
        name: path and folder / path for name, path in (("public_key", auth.jwt.public_key), ("jwks", auth.jwt.jwks))
    }
    documents = settings.gql.documents_dir
    anchored = {
        "gql": settings.gql.model_copy(update={"documents_dir": documents and folder / documents}),
        "database": settings.database.model_copy(
            update={"url": url, "migrations": settings.database.migrations and folder / settings.database.migrations}
        ),
        "email": settings.email.model_copy(update={"directory": folder / settings.email.directory}),
        "log": settings.log.model_copy(update={"path": folder / settings.log.path}),
        "auth": auth.model_copy(update={"jwt": auth.jwt.model_copy(update=keys)}),
    }
    return Settings.model_construct(**dict(settings) | anchored)
