"""The changes of jobs, for those who watch: one reader a process, which reads the ledger and nothing else.

A wake-up makes it look sooner; without one it looks every `Timings.change_poll_s` while anything is watched. What was
committed before it looked is never missed: on SQLite commits are numbered one after another, and on PostgreSQL it
reads again from the oldest transaction that was not over when it looked last.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import sqlalchemy as sa
import structlog

from onward.jobs.ledger import get_many, horizon
from onward.jobs.model import Job
from onward.jobs.timings import Timings
from onward.storage.base import StorageError
from onward.storage.engine import Database
from onward.storage.tables import jobs
from onward.storage.transaction import Tx

MIN_INTERVAL_S = 0.005  # at least, between two looks
MAX_PENDING = 10_000

_changed = sa.select(jobs.c.id, jobs.c.version, jobs.c.changed).where(jobs.c.changed >= sa.bindparam("floor"))
_to_come = "changed >= CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT) AND changed <> :own"
_ahead = sa.text(f"SELECT 1 FROM jobs WHERE {_to_come} LIMIT 1")  # noqa: S608 - a constant
_renumber = sa.text(f"UPDATE jobs SET changed = 0 WHERE {_to_come}")  # noqa: S608 - likewise


def renumber(tx: Tx) -> None:
    """No job says that it was changed by a commit that is yet to come, as it does in a PostgreSQL's restored dump.

    There transactions are counted anew, and whoever watches would read all that the dump brought along at every look.
    """
    if tx.dialect == "postgresql" and tx.one(_ahead, own=tx.change):
        tx.raw("SET LOCAL statement_timeout = 0")
        tx.raw("LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE")  # so that nobody's new change is among those
        tx.execute(_renumber, own=tx.change)


class SlowConsumer(Exception):
    """The watcher takes its changes too slowly."""


class Subscription:
    """Changed jobs, each with a version above the one before; those in between may be folded."""

    def __init__(self) -> None:
        self._pending: dict[str, Job] = {}
        self._ready = asyncio.Event()
        self._overflow = False

    def put(self, job: Job) -> None:
        if len(self._pending) >= MAX_PENDING:
            self._overflow = True
        else:
            self._pending[job.id] = job
        self._ready.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Job:
        """The next change. Raises SlowConsumer where more than `MAX_PENDING` jobs have piled up."""
        while not self._pending:
            self._ready.clear()
            await self._ready.wait()
        if self._overflow:
            raise SlowConsumer
        return self._pending.pop(next(iter(self._pending)))


class ChangeFeed:
    """The one reader of a process."""

    def __init__(self, database: Database, timings: Timings = Timings()) -> None:
        self._database = database
        self._timings = timings
        self._jobs: dict[str, set[Subscription]] = defaultdict(set)
        self._all: set[Subscription] = set()
        self._floor: int | None = None
        self._known: dict[str, tuple[int, int]] = {}  # job: version and commit of what was read from the floor on
        self._wanted = asyncio.Event()
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._alarm = False
        self._log = structlog.get_logger("changes")

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._read_on(), name="changes")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """The reader looks soon. From any thread, as often as one likes."""
        if self._alarm or self._loop is None or not (self._jobs or self._all):
            return
        self._alarm = True
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._woken.set)

    @asynccontextmanager
    async def watch_job(self, job_id: str) -> AsyncIterator[Subscription]:
        """What becomes of one job. Open it first, then read the job's present state: so nothing falls between."""
        watch = Subscription()
        await self._join()
        self._jobs[job_id].add(watch)
        self._wanted.set()
        try:
            yield watch
        finally:
            self._jobs[job_id].discard(watch)
            if not self._jobs[job_id]:
                del self._jobs[job_id]

    @asynccontextmanager
    async def watch_all(self) -> AsyncIterator[Subscription]:
        """What becomes of all jobs from now on."""
        watch = Subscription()
        await self._join()
        self._all.add(watch)
        self._wanted.set()
        try:
            yield watch
        finally:
            self._all.discard(watch)

    async def _join(self) -> None:
        if not (self._jobs or self._all):
            # Nobody was watching: what happened meanwhile is of no interest. Raises Unavailable.
            floor = await self._database.read(horizon)
            if not (self._jobs or self._all):  # else somebody was quicker, who may need what came before this floor
                self._floor = floor
                self._known = {}

    async def _read_on(self) -> None:
        while True:
            if not (self._jobs or self._all):
                self._wanted.clear()
                await self._wanted.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timings.change_poll_s):
                    await self._woken.wait()
            self._woken.clear()
            self._alarm = False
            try:
                for job in await self._database.read(self._poll):
                    for watch in (*self._jobs.get(job.id, ()), *self._all):
                        watch.put(job)
            except StorageError:
                self._log.warning("changes cannot be read")
                await asyncio.sleep(0.5)
            except Exception:  # noqa: BLE001 - the loop goes on, whatever it was
                self._log.exception("changes cannot be read")
                await asyncio.sleep(0.5)
            await asyncio.sleep(MIN_INTERVAL_S)

    def _poll(self, tx: Tx) -> list[Job]:
        floor = self._floor
        if floor is None:
            return []
        lowest = horizon(tx)  # before the rows: what is committed between the two is read twice, not missed
        rows = tx.all(_changed, floor=min(floor, lowest))  # after a crash, PostgreSQL counts on from an older number
        fresh = [row[0] for row in rows if self._known.get(row[0], (0, 0))[0] < row[1]]
        wanted = fresh if self._all else [job_id for job_id in fresh if job_id in self._jobs]
        found = [
            job for start in range(0, len(wanted), 500) for job in get_many(tx, wanted[start : start + 500]).values()
        ]
        kept = {job_id: known for job_id, known in self._known.items() if known[1] >= lowest}
        self._known = kept | {row[0]: (row[1], row[2]) for row in rows if row[2] >= lowest}
        # A job may have changed once more since its row was looked at: that change is told now, and not again.
        self._known |= {job.id: (job.version, lowest) for job in found}
        self._floor = lowest
        return sorted(found, key=lambda job: (job.status.value, job.id))
