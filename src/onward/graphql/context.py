"""The services of the process, the caller, and the jobs that one operation has accepted: the context of resolvers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import strawberry

from onward.dispatch.dispatcher import Dispatcher
from onward.graphql.counts import Counts
from onward.graphql.meter import Meter
from onward.graphql.viewer import Viewer
from onward.handlers.base import Handler
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.model import Job
from onward.jobs.schedule import Schedule
from onward.storage.engine import Database
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Services:
    """The application's services, as far as resolvers need them."""

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


Info = strawberry.Info[Context, None]
