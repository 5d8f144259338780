"""The context of resolvers: the services of the process, the caller, and the jobs that one operation has accepted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path as FilePath
from typing import Any, NamedTuple, TypeVar

import strawberry
from graphql.pyutils import Path

from onward.dispatch.dispatcher import Dispatcher
from onward.dispatch.schedules import Schedules
from onward.graphql.base import BadRequest, public_error, unavailable
from onward.graphql.batch_states import BatchStates
from onward.graphql.counts import Counts
from onward.graphql.meter import Meter
from onward.graphql.viewer import Viewer
from onward.handlers.base import Handler
from onward.jobs.batch_keeper import BatchKeeper
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.model import Job
from onward.jobs.position import Position, Snapshot
from onward.storage.base import Unavailable
from onward.storage.engine import Database
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing

T = TypeVar("T")
Lasting = Callable[[AsyncGenerator[Any, None]], AsyncGenerator[Any, None]]


class Services(NamedTuple):
    """The application's services that resolvers need."""

    version: str
    backend: str
    database: Database
    writer: Writer
    dispatcher: Dispatcher
    changes: ChangeFeed
    keeper: BatchKeeper
    handlers: Mapping[str, Handler]
    counts: Counts
    batches: BatchStates
    schedules: Schedules
    metrics: Metrics
    tracing: Tracing
    out_of_threads: Callable[[], bool]  # whether plain functions past their time limit keep too many threads
    discloses: bool = True  # whether an address is known already
    mail_directory: FilePath | None = None  # the folder of sent messages, where they may be shown
    open_jobs: int = 0  # the limit of one viewer's jobs that are not finished; 0 for none
    open_to_all: Collection[str] = ()  # the mutations that need no token where tokens are needed


@dataclass(slots=True)
class Context:
    """The context of one operation. Resolvers append the jobs that they accept; they are delivered at the end."""

    services: Services
    viewer: Viewer
    trace: str | None = None  # the traceparent of the request
    accepted: list[Job] = field(default_factory=list)
    meter: Meter = field(default_factory=Meter)
    raw_headers: Sequence[tuple[bytes, bytes]] = ()  # as the server read them; on a WebSocket those of the handshake
    made: dict[Callable[[Context], Any], Any] = field(default_factory=dict)
    position: Position | None = None  # from which nothing is missed that this answer, or event, does not show
    lasting: Lasting | None = None  # passes a subscription's events on until another server's session ends
    at_once: bool = False  # deliver each job at once: another server executes the operation, and nobody does it later

    async def take_position(self) -> Position:
        """Return the position. Take it before the answer's jobs are read. Raises Unavailable."""
        if self.position is None:
            snapshot = partial(self.services.database.begin_read, Snapshot.of)
            self.position = (await self.meter.shares.reads.run(self.meter.caller, snapshot)).position
        return self.position

    async def read(self, function: Callable[[Tx], T]) -> T:
        """Read the ledger in the caller's turn. Raises Unavailable, and GraphQLError if the client has gone."""

        def begin() -> Awaitable[T]:
            self.meter.check_connection()
            return self.services.database.begin_read(function)

        return await self.meter.shares.reads.run(self.meter.caller, begin, self.meter.rank)

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers by lower-case name; values of one that came several times are joined."""
        found: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]}{'; ' if name == 'cookie' else ', '}{value}" if name in found else value
        return found

    async def accept(self, *jobs: Job) -> None:
        """Have jobs delivered, which are in the ledger: after the operation, or at once."""
        if self.at_once:
            dispatcher = self.services.dispatcher
            await dispatcher.deliver(jobs, after_response=dispatcher.defer)
        else:
            self.accepted.extend(jobs)

    def once(self, make: Callable[[Context], T]) -> T:
        """Return the result of `make` for this context, such as a data loader; `make` is called once in an operation.

        In a subscription it is called once for each event, so that no loader gives values of an earlier one.
        """
        if make not in self.made:
            self.made[make] = make(self)
        made: T = self.made[make]
        return made


Info = strawberry.Info[Context, None]


class ForeignRequest(ABC):
    """A request that another server answers with a schema of which the library's fields are a part."""

    @abstractmethod
    async def field_context(self, connection_params: object) -> Context:
        """Build the context of one field; the parameters are those of a WebSocket's connection_init.

        Raises BadRequest, also where the caller's token is wrong or has expired.
        """


@dataclass
class _OwnInfo(strawberry.Info[Context, None]):
    own: Context

    @property
    def context(self) -> Context:
        return self.own


class _Held(NamedTuple):
    """The context of a root field, for the fields below; those of a subscription's events have another `root`."""

    request: ForeignRequest
    root: Path | None
    context: Context


_held: ContextVar[_Held | None] = ContextVar("onward.context", default=None)


async def own_info(info: strawberry.Info[Any, Any], *, streams: bool = False) -> Info:
    """Return the info with the library's own context. Raises GraphQLError where the schema's context holds none."""
    if type(info.context) is Context:
        return info
    own = await _context(info, streams=streams)
    return _OwnInfo(info._raw_info, info._field, own)  # noqa: SLF001 - an Info is copied by its two fields


async def of(info: strawberry.Info[Any, Any]) -> Context:
    """The library's context: the schema's own, or the `onward` in it. Fields below one root field share theirs.

    Raises GraphQLError where there is none, and where the caller's token is wrong.
    """
    return await _context(info, streams=False)


async def _context(info: strawberry.Info[Any, Any], *, streams: bool) -> Context:
    given = info.context
    if type(given) is Context:
        return given
    found = _within(given)
    if not isinstance(found, Context | ForeignRequest):
        found = _within(found)  # `onward.context` gives an object that holds it
    if isinstance(found, Context):
        return found
    if not isinstance(found, ForeignRequest):
        raise public_error(
            "info.context holds no Onward. Give the router context_getter=onward.context, or put it into a context of"
            ' your own: {"onward": await onward.context(connection)}.',
            "NO_CONTEXT",
        )
    root, held = _root(info.path), _held.get()
    if held is not None and held.request is found and (held.root is None or held.root is root) and not streams:
        return held.context
    named = isinstance(given, Mapping)
    params = given.get("connection_params") if named else getattr(given, "connection_params", None)
    try:
        context = await found.field_context(params)
    except BadRequest as error:
        raise public_error(error.message, error.code) from None
    _held.set(_Held(found, None if streams else root, context))
    if not streams and "change" in (info.query or "change"):
        try:
            await context.take_position()  # before any job is read
        except Unavailable as error:
            raise unavailable() from error
    return context


def forget() -> None:
    """Forget a subscription's context, since its task executes other operations later."""
    _held.set(None)


def _root(path: Path) -> Path:
    while path.prev is not None:
        path = path.prev
    return path


def _within(given: Any) -> Any:
    """The context in a dictionary's `onward`, in an attribute of that name, or the object itself, in this order."""
    if isinstance(given, Mapping):
        return given.get("onward")
    return getattr(given, "onward", given)
