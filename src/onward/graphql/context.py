"""The context of resolvers: the services of the process, the caller, and the jobs that one operation has accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import strawberry

from onward.dispatch.dispatcher import Dispatcher
from onward.graphql.counts import Counts
from onward.graphql.meter import Meter
from onward.graphql.viewer import Viewer
from onward.handlers.base import Handler
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.model import Job
from onward.jobs.position import Position, Snapshot
from onward.jobs.schedule import Schedule
from onward.storage.engine import Database
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """The application's services that resolvers need."""

    version: str
    backend: str
    database: Database
    writer: Writer
    dispatcher: Dispatcher
    changes: ChangeFeed
    handlers: Mapping[str, Handler]
    counts: Counts
    schedule: Schedule
    metrics: Metrics
    tracing: Tracing
    out_of_threads: Callable[[], bool]  # whether plain functions past their time limit keep too many threads
    discloses: bool = True  # whether an address is known already
    mail_directory: Path | None = None  # the folder of sent messages, where they may be shown
    open_jobs: int = 0  # the limit of one viewer's jobs that are not finished; 0 for none


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

    async def take_position(self) -> Position:
        """Return the position. Take it before the answer's jobs are read. Raises Unavailable."""
        if self.position is None:
            async with self.meter.shares.reads.one(self.meter.caller):
                self.position = (await self.services.database.read(Snapshot.of)).position
        return self.position

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers by lower-case name; values of one that came several times are joined."""
        found: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            found[name] = f"{found[name]}{'; ' if name == 'cookie' else ', '}{value}" if name in found else value
        return found

    def once(self, make: Callable[[Context], T]) -> T:
        """Return the result of `make` for this context, such as a data loader; `make` is called once in an operation.

        In a subscription it is called once for each event, so that no loader gives values of an earlier one.
        """
        if make not in self.made:
            self.made[make] = make(self)
        made: T = self.made[make]
        return made


Info = strawberry.Info[Context, None]
