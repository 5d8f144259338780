"""What a resolver finds around it: the application's parts, who asks, and what this request has accepted so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import strawberry

from onward.dispatch.dispatcher import Dispatcher
from onward.graphql.counts import Counts
from onward.handlers.base import Handler
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.model import Job, Visible
from onward.jobs.schedule import Schedule
from onward.storage.engine import Database
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. Without an id and with the role `admin` where the server is open; with neither it is nobody."""

    id: str | None
    roles: tuple[str, ...]
    until: float | None = None  # when the token runs out, in seconds as time.time() has them

    @property
    def visible(self) -> Visible:
        return Visible(owner=self.id, everything=ADMIN in self.roles)

    @property
    def is_nobody(self) -> bool:
        """Whether no token came where one is needed."""
        return self.id is None and not self.roles


@dataclass(frozen=True, slots=True)
class Services:
    """What the application is made of, as far as resolvers need it."""

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
    discloses: bool = True  # whether an address is known already
    mail_directory: Path | None = None  # where messages may be looked at
    open_jobs: int = 0  # of one viewer at once; 0 is no limit


@dataclass(slots=True)
class Context:
    """One operation's. Whoever accepts a job adds it to `accepted`; the view delivers them all at the end."""

    services: Services
    viewer: Viewer
    trace: str | None = None  # the traceparent that the request came with
    accepted: list[Job] = field(default_factory=list)


Info = strawberry.Info[Context, None]
