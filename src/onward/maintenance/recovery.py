"""The service that finds jobs which would never be delivered: of other settings, and of dead processes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import NamedTuple

from onward.dispatch.dispatcher import Dispatcher
from onward.jobs import dispatched, due, recovery, row
from onward.jobs.position import Snapshot
from onward.jobs.timings import Timings
from onward.jobs.waiting import taken
from onward.maintenance.service import Service
from onward.storage.batches import in_batches
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry import logger

ROWS = 2_000  # that one commit changes at most


class _Found(NamedTuple):
    """The work that one pass of the service has found."""

    destinations: Collection[row.Destination]
    seen: Snapshot
    assigned: set[str]
    orphans: Sequence[str]
    any_chunks: bool


class Recovery(Service):
    """Reroutes waiting jobs by the present settings, and reclaims those of dead processes."""

    name = "recovery"

    def __init__(self, writer: Writer, dispatcher: Dispatcher, timings: Timings) -> None:
        self._writer = writer
        self._dispatcher = dispatcher
        self._interval_s = timings.reconcile_interval_s
        self._grace_us = round(timings.delivery_grace_s * 1_000_000)
        self._since: Snapshot | None = None  # what was seen at the last look; None looks at everything
        self._assigned: set[str] = set()  # runners for which queued jobs were accepted, until both are gone
        self._locked: set[tuple[str, str]] = set()  # backends and handlers of jobs that could not be rerouted
        self._left: set[str] = set()  # stored chunks that cannot become jobs
        self._log = logger("maintenance")

    async def reroute_all(self) -> None:
        """Reroute all waiting jobs by the present settings. Raises Unavailable."""
        destinations, _ = await self._writer.database.read(partial(due.destinations, since=None))
        await self._reroute(destinations)

    async def run_once(self) -> float:
        found = await self._writer.database.read(self._look)
        self._assigned = found.assigned
        await self._reroute(found.destinations)
        for runner in found.orphans:
            await self._free(runner)
        if found.any_chunks:
            await self._expand_dispatched()
        self._since = found.seen
        return self._interval_s

    def stand_by(self) -> None:
        self._since = None
        self._assigned.clear()
        self._locked.clear()

    def _look(self, tx: Tx) -> _Found:
        """Read all that a pass needs in one read, whose cost is mostly the way to its thread and back."""
        destinations, seen = due.destinations(tx, since=self._since)
        here = {name for name, backend in self._dispatcher.backends.items() if not backend.runs_elsewhere}
        assigned = {runner for backend, _, runner in destinations if runner is not None and backend in here}
        assigned |= self._assigned
        orphans = recovery.orphaned_runners(tx, assigned=assigned)
        return _Found(destinations, seen, assigned, orphans, dispatched.any_left(tx, older_than_us=self._grace_us))

    async def _free(self, runner: str) -> None:
        """Free the jobs of a runner that the ledger does not know."""
        if not await self._writer.database.read(partial(recovery.has_jobs, runner=runner)):
            self._assigned.discard(runner)
            return
        free = partial(recovery.release_orphan, runner=runner)
        if jobs := await in_batches(self._writer, free, most=recovery.ROWS):
            self._log.warning("jobs of a process that is gone wait again", jobs=jobs)

    async def _expand_dispatched(self) -> None:
        """Accept stored chunks of processes that have ended."""
        dispatcher = self._dispatcher
        await dispatched.expand_all(
            self._writer,
            dispatcher.accept_later,
            dispatcher.dispatch_new,
            enqueuer=dispatcher,
            left=self._left,
            older_than_us=self._grace_us,
        )

    async def _reroute(self, destinations: Collection[row.Destination]) -> None:
        found = sorted({(backend, handler) for backend, handler, _ in destinations} | self._locked)
        if not found:
            return
        takes = await self._writer.database.read(taken)
        for backend, handler in found:
            # Jobs of a handler that is not known here stay in a queue that another process takes, of a newer release.
            new = self._dispatcher.route(handler, backend if backend in takes else "")
            if new != backend:
                move = partial(due.reroute, old=backend, handler=handler, new=new)
                if moved := await in_batches(self._writer, move, most=ROWS):
                    self._log.info("jobs go elsewhere by the settings of now", handler=handler, backend=new, jobs=moved)
                left = await self._writer.database.read(partial(due.any_misrouted, old=backend, handler=handler))
                if left:
                    self._locked.add((backend, handler))
                    continue
            self._locked.discard((backend, handler))
