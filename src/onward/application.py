"""The object by which any code enqueues jobs, asynchronous or not, and which an application of its users embeds.

FastAPI and Strawberry are imported where the application is embedded: code that only enqueues loads neither.
`synchronous.py` has the calls for plain code.

The file is long because each method is told and typed here, and done elsewhere.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

from onward.arguments import check_argument, check_names
from onward.config.settings import Settings, SettingsError, enter
from onward.handlers.base import BatchRequest, JobRequest
from onward.jobs.options import Options
from onward.runtime.enqueuing import Enqueuer, enqueuer_of, open_enqueuer
from onward.runtime.values import signal_urls
from onward.synchronous import Sync

if TYPE_CHECKING:
    import strawberry
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp

    from onward.api.embedding import Embedding
    from onward.graphql.viewer import ViewerFunction
    from onward.jobs.model import JobChunk

T = TypeVar("T")


class Onward:
    """Jobs of one project: enqueued from anywhere, or accepted and run inside an application of your own.

    `async with onward:` opens the ledger and closes it; such a process runs no jobs. `onward.sync` is for code without
    an event loop. An ASGI application embeds all that `onward serve` has:

        app = FastAPI(lifespan=onward.lifespan)
        app.mount("/graphql", onward.graphql)
        app.mount("/jobs", onward.pages)
    """

    sync: Sync

    def __init__(self, settings: Settings, *, viewer: ViewerFunction | None = None, type_prefix: str = "") -> None:
        check_argument("settings", settings, "the project's: write Onward.from_settings(FILE)", Settings)
        expected = "a function of the connection, as in viewer=my_viewer; auth.viewer of the settings takes a name"
        check_argument("viewer", viewer, expected, Callable, NoneType)  # type: ignore[arg-type]
        check_argument("type_prefix", type_prefix, 'a string, as in type_prefix="Onward"', str)
        _check_prefix(type_prefix)
        self.sync = Sync(settings)
        self._settings = settings
        self._viewer = viewer
        self._type_prefix = type_prefix
        self._in_use = False
        self._context: AbstractAsyncContextManager[Enqueuer] | None = None
        self._enqueuer: Enqueuer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def from_settings(
        cls,
        file: str | Path = "settings.toml",
        *,
        viewer: ViewerFunction | None = None,
        type_prefix: str = "",
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read the settings; nothing is opened yet. Raises SettingsError.

        `viewer` is a function of a connection to the Viewer who calls, or None; it may be asynchronous. Without it
        `auth.mode` says who calls. `type_prefix` begins the names of Onward's types in a schema of your own, where
        yours have the same names. `overrides` win over the file and the environment, as in
        `{"database": {"url": "sqlite:///var/test.db"}}`; workers and commands do not know of them.
        """
        check_argument("file", file, 'the path of settings.toml, as in "settings.toml"', str, os.PathLike)
        given = {} if overrides is None else overrides
        check_names("overrides", given, 'a dict of settings, as in {"backend": "background"}', Mapping)
        path = Path(file).absolute()
        if not path.is_dir() and path.name != "settings.toml":
            raise SettingsError(f"{file}: the file of a project's settings is named settings.toml: name that one")
        folder = path if path.is_dir() else path.parent
        return cls(enter(folder, "overrides", **given), viewer=viewer, type_prefix=type_prefix)

    async def __aenter__(self) -> Self:
        """Open the ledger, so that code may enqueue: `async with onward:`. No job runs here; `lifespan` runs jobs, too.

        Raises SettingsError and StorageError.
        """
        self._take()
        context = open_enqueuer(self._settings)
        try:
            self._enqueuer = await context.__aenter__()
        except BaseException:
            self._in_use = False
            raise
        self._context = context
        return self

    async def __aexit__(self, *error: object) -> None:
        context, self._context = self._context, None
        if context is not None:  # else it is the lifespan's, which ends it
            self._enqueuer, self._in_use = None, False
            await context.__aexit__(None, None, None)

    def lifespan(self, app: Any = None) -> AbstractAsyncContextManager[None]:
        """Accept and run jobs as long as the application lives: `FastAPI(lifespan=onward.lifespan)`.

        In a lifespan of your own: `async with onward.lifespan(app):`. `app` is the application that `onward.graphql`
        and `onward.pages` are mounted in. Meanwhile `enqueue` uses the same connections. At the end running jobs get
        `server.drain_s` seconds, and go back to the queue after that. Raises SettingsError and StorageError.
        """
        return self._lifespan(app)

    @cached_property
    def graphql(self) -> ASGIApp:
        """The GraphQL API of the settings, as an ASGI application: `app.mount("/graphql", onward.graphql)`."""
        return self._embedding.graphql()

    def graphql_with(self, schema: strawberry.Schema) -> ASGIApp:
        """Return the same for a Strawberry schema of your own. Call it before the application starts."""
        import strawberry  # noqa: PLC0415 - as the head of this file says

        check_argument("schema", schema, "a strawberry.Schema, as in strawberry.Schema(query=Query)", strawberry.Schema)
        return self._embedding.graphql(schema)

    @cached_property
    def pages(self) -> ASGIApp:
        """The console, as an ASGI application: `app.mount("/jobs", onward.pages)`.

        It finds the path at which `onward.graphql` is mounted in the same application.
        """
        return self._embedding.pages()

    def pages_with(self, *, graphql: str) -> ASGIApp:
        """Return the console for a GraphQL at another address of the same origin, such as "/api/graphql"."""
        check_argument("graphql", graphql, 'an address as a string, as in graphql="/api/graphql"', str)
        return self._embedding.pages(graphql)

    @property
    def Query(self) -> Any:  # noqa: N802 - a class
        """The library's queries, as a base of the class Query in a Strawberry schema of your own."""
        return self._embedding.library.query

    @property
    def Mutation(self) -> Any:  # noqa: N802 - a class
        """The same for mutations, with those of the handlers."""
        return self._embedding.library.mutation

    @property
    def Subscription(self) -> Any:  # noqa: N802 - a class
        """The same for subscriptions."""
        return self._embedding.library.subscription

    @property
    def Job(self) -> Any:  # noqa: N802 - a class
        """The type Job of such a schema, for fields of your own: `strawberry.field(graphql_type=onward.Job | None)`."""
        return self._embedding.library.job

    @property
    def JobPayload(self) -> Any:  # noqa: N802 - a class
        """The type of the payload that `send` answers with, in such a schema."""
        return self._embedding.library.job_payload

    @property
    def UserError(self) -> Any:  # noqa: N802 - a class
        """The type of the `errors` of payloads, in such a schema."""
        return self._embedding.library.user_error

    @property
    def context(self) -> Callable[[HTTPConnection], Awaitable[Any]]:
        """The context getter of Strawberry's routers: `GraphQLRouter(schema, context_getter=onward.context)`.

        In a context of your own: `{"onward": await onward.context(connection)}`, or an attribute of that name.
        """
        return self._embedding.context

    @asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        self._take()
        try:
            async with self._embedding.lifespan(app) as runtime:
                self._enqueuer = await enqueuer_of(runtime)
                yield
        finally:  # not before the drain: the handlers that it waits for enqueue jobs, too
            self._enqueuer, self._in_use = None, False

    @cached_property
    def _embedding(self) -> Embedding:
        from onward.api.embedding import Embedding  # noqa: PLC0415 - as the head of this file says

        return Embedding(self._settings, self._viewer, self._type_prefix)

    def _take(self) -> None:
        if self._in_use:
            raise RuntimeError("this Onward is open already: open it once, where the program starts")
        self._in_use, self._loop = True, asyncio.get_running_loop()

    async def enqueue(
        self,
        request: JobRequest | BatchRequest,
        *,
        owner: str | int | UUID | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        expires: timedelta | None = None,
        idempotency_key: str | None = None,
        session: object = None,
    ) -> str:
        """Accept the job, or the batch, durably, and return its id. A job of a higher `priority` goes first.

        The jobs of a batch have the same options; a batch is accepted as a whole, or not at all.

        `owner` is the subject of the viewer who sees the job; an integer or a UUID is one as its text, as in `Viewer`.

        A job that has not begun within `expires` from its due time is cancelled; the handler's option is the default.

        With a `session` the job belongs to its transaction: it is there when that commits, and only then. A session, or
        connection, is one of SQLAlchemy, psycopg, asyncpg, sqlite3 or aiosqlite, on the ledger's own database.

        The same `idempotency_key` of the same owner gives the same job. Raises InvalidParameters, UnknownHandler,
        KeyReused, UnusableSession, Unavailable; Deadlock in a session's transaction, which is to be run again then.
        """
        options = Options(owner, priority, run_at, expires)
        if session is None:
            return await self._open().enqueue(request, options, idempotency_key)
        return (await _awaited(self._open(session).request_within(session, request, options, idempotency_key)))[0]

    async def enqueue_many(
        self,
        requests: Iterable[JobRequest],
        *,
        owner: str | int | UUID | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
        expires: timedelta | None = None,
        session: object = None,
    ) -> list[str]:
        """Accept jobs in chunks of 200 a commit, or all with that of the `session`, and return their ids in order.

        A wrong request is refused before any is accepted; after Unavailable some may be accepted.
        """
        options = Options(owner, priority, run_at, expires)
        if session is None:
            return await self._open().enqueue_many(requests, options)
        return await _awaited(self._open(session).enqueue_within(session, requests, options))

    async def cancel_batch(self, batch_id: str, *, reason: str | None = None) -> None:
        """Cancel the batch: its children are cancelled soon, and nothing follows them.

        Raises NotFound, BatchConflict if it is over, Unavailable.
        """
        await self._open().batches.cancel(batch_id, reason)

    async def retry_batch(self, batch_id: str) -> None:
        """Run the failed and cancelled children of a finished batch again, and then the job that follows.

        A batch that was stopped or cancelled goes on so also where no child is failed any more. Raises NotFound;
        BatchConflict if it is not over, there is nothing to retry, or `then` has succeeded; Unavailable.
        """
        await self._open().batches.retry(batch_id)

    async def result(self, job_id: str, *, timeout: timedelta | None = None) -> Any:  # noqa: ASYNC109 - a public name
        """Wait until the job is over, and return its result. Raises JobFailed, NotFound, TimeoutError, Unavailable."""
        return await self._open().result(job_id, timeout)

    def output(self, job_id: str, *, after: int | None = None) -> AsyncGenerator[JobChunk, None]:
        """Yield the job's output as it comes, until the job is over: `async for chunk in onward.output(job_id):`.

        `after` is the offset of the last chunk that you have: none comes twice. Raises NotFound, Unavailable.
        """
        return self._open().output(job_id, after)

    async def signal(self, job_id: str, name: str, payload: Any = None, *, session: object = None) -> None:
        """Send the signal that a job waits for, or will wait for, durably: `await onward.signal(id, "approval", ...)`.

        The same signal again changes nothing. With a `session` it belongs to that transaction, as in `enqueue`.

        Raises NotFound, also where the job waits for no signal of this name; InvalidParameters for a payload that is
        not of the declared type; Conflict after another payload, and when the job is over; UnusableSession,
        Unavailable.
        """
        if session is None:
            return await self._open().signal(job_id, name, payload)
        return await _awaited(self._open(session).signal_within(session, job_id, name, payload))

    def signal_url(
        self, job_id: str, name: str, *, expires: timedelta = timedelta(days=7), run: int | None = None
    ) -> str:
        """Return an address that is the right to send the signal until it `expires`, for a mail or a webhook.

        GET shows a form, POST sends the signal, as JSON or as a form. It begins with `signals.url`, and is signed with
        the first key of `signals.secret`. With `run=1` it is for that run of the job alone, and refused once the job
        is retried by hand. Raises TypeError and ValueError.
        """
        return signal_urls(self._settings).make(job_id, name, expires, run=run)

    def _open(self, session: object = None) -> Enqueuer:
        """Return the enqueuer. Raises RuntimeError in another event loop, unless all is done in the session."""
        if self._enqueuer is None:
            raise RuntimeError(
                "this Onward is not open: use it inside onward.lifespan or `async with onward:`, or take onward.sync"
            )
        if session is None and _running_loop() not in {None, self._loop}:
            raise RuntimeError(
                "this Onward is open in another event loop than this one: await it in the loop of onward.lifespan or"
                " `async with onward:`, or take onward.sync"
            )
        return self._enqueuer


def _running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the running event loop; None in plain code, where `output` may be called for a loop that reads it."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _check_prefix(prefix: str) -> None:
    """Raise SettingsError for what begins no name of a type."""
    if not prefix:
        return
    from onward.graphql.base import SchemaError  # noqa: PLC0415 - as the head of this file says
    from onward.graphql.generated.names import check_prefix  # noqa: PLC0415 - likewise

    try:
        check_prefix(prefix)
    except SchemaError as error:
        raise SettingsError(str(error)) from error


async def _awaited(found: T | Awaitable[T]) -> T:
    return await found if isinstance(found, Awaitable) else found
