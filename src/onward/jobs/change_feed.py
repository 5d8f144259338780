"""The changes of jobs, for subscribers: one reader a process, which reads the ledger and nothing else.

A wake-up makes it read sooner; without one it looks for commits every `Timings.change_poll_s` while there are
subscriptions, and reads if there are any. A change that was committed before a read is never missed: on SQLite commits
are numbered one after another, and on PostgreSQL each read adds the transactions that were going on at the read before,
and are over now.

The file is long because its bounds hold only together: what is read, kept, missed and told of.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from itertools import chain
from time import monotonic
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

import sqlalchemy as sa

from onward.jobs import chunks, row
from onward.jobs.base import JobsError
from onward.jobs.ledger import rows
from onward.jobs.model import EVERYTHING, Job, Visible
from onward.jobs.position import Position, Snapshot
from onward.jobs.timings import Timings
from onward.storage.base import StorageError, Unavailable
from onward.storage.engine import Database
from onward.storage.revision import Revision
from onward.storage.sql import from_on
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.telemetry import logger

MIN_INTERVAL_S = 0.005  # at least, between two reads
PAGE = 500
SLICE_S = 0.002  # of the event loop at a time, while changes are given to subscriptions
ERROR_PAUSE_S = 0.5
ENDED = "the process stops, or this Onward is closed, and the job is not over: ask an Onward that is open"
MAX_PENDING = 10_000
MAX_PENDING_BYTES = 32_000_000  # of the same jobs, as the ledger has them, beside the oldest read's
W = TypeVar("W")
Wanted = Callable[[Job], bool]

_change = sa.select(*row.columns(row.Change))
_changed = _change.where(from_on(jobs.c.changed, "end"))
_changed_by = _change.where(sa.text("changed = ANY(CAST(:open AS BIGINT[]))"))
_future = "changed >= CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT) AND changed <> :own"
_ahead = sa.text(f"SELECT 1 FROM _ledger.jobs WHERE {_future} LIMIT 1")  # noqa: S608 - a constant
_lock = sa.text("LOCK TABLE _ledger.jobs IN SHARE ROW EXCLUSIVE MODE")
_renumber = sa.text(f"UPDATE _ledger.jobs SET changed = 0 WHERE {_future}")  # noqa: S608 - as above


def renumber(tx: Tx) -> None:
    """Forget commit numbers of the future, which a restored dump brings into a PostgreSQL ledger.

    Its server counts transactions anew, and every read of the feed would find all the jobs of the dump.
    """
    if tx.dialect == "postgresql" and tx.one(_ahead, own=tx.change):
        tx.raw("SET LOCAL statement_timeout = 0")
        tx.execute(_lock)  # so that no new change is among those
        tx.execute(_renumber, own=tx.change)


def any_job(_job: Job) -> bool:
    """Return True: a subscriber that is told of all jobs."""
    return True


class SlowConsumer(JobsError):
    """The subscriber reads its changes too slowly."""


class Pending(NamedTuple):
    """A change that the subscriber has not taken yet."""

    job: Job
    since: Position
    read: int
    size: int


class Subscription:
    """An iterator of changed jobs, each with a higher version than before; versions in between may be left out.

    Jobs that are not `wanted` are not kept: they would take the room of those that are.
    """

    def __init__(self, latest: Callable[[], Position], wanted: Wanted) -> None:
        self._wanted = wanted
        self._pending: dict[str, Pending] = {}
        self._size = 0
        self._latest = latest
        self._ready = asyncio.Event()
        self._overflow = False
        self._ended = False

    def end(self) -> None:
        """Raise Unavailable once the changes are taken that are there. May be called twice."""
        self._ended = True
        self._ready.set()

    def put(self, job: Job, since: Position, size: int = 0, read: int = 0) -> None:
        """Add a change of so many bytes, which the read of this number has found.

        `since` is the position of the read before it; several reads may begin at the same one.
        """
        if self._overflow or not self._wanted(job):
            return
        if not self._pending or self._oldest.read == read:
            size = 0  # this read is in memory as a whole
        found = self._pending.get(job.id)
        self._size += size if found is None else size - found.size
        self._pending[job.id] = Pending(job, since, read, size) if found is None else found._replace(job=job, size=size)
        if len(self._pending) > MAX_PENDING or self._size > MAX_PENDING_BYTES:
            self._overflow = True
            self._pending.clear()  # the subscriber gets none of them
        self._ready.set()

    @property
    def position(self) -> Position:
        """The position of a reader that has got what was returned so far, and nothing else."""
        return self._oldest.since if self._pending else self._latest()

    @property
    def _oldest(self) -> Pending:
        # Those that wait are in the order of the reads that found them first.
        return next(iter(self._pending.values()))

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Job:
        """Return the next change.

        Raises SlowConsumer if too many jobs have piled up, or too large ones; Unavailable at the end.
        """
        while not (self._pending or self._overflow):
            if self._ended:
                raise Unavailable(ENDED)
            self._ready.clear()
            await self._ready.wait()
        if self._overflow:
            raise SlowConsumer
        taken = self._pending.pop(next(iter(self._pending)))
        self._size -= taken.size
        return taken.job


class OutputWatch:
    """Says when a job may have more output than a reader has read, or may be over."""

    def __init__(self, read_to: int) -> None:
        self.read_to = read_to  # the offset of the last chunk that the reader has, -1 for none
        self._ready = asyncio.Event()
        self._ended = False

    def end(self) -> None:
        """Let the reader read once more, then raise Unavailable. May be called twice."""
        self._ended = True
        self._ready.set()

    def put(self, job: Job, since: Position, size: int = 0, read: int = 0) -> None:  # noqa: ARG002 - as above
        self.see()

    def see(self) -> None:
        """Take note of a change of the job, or of chunks that the reader has not got."""
        self._ready.set()

    def begin_read(self) -> None:
        """Forget what was seen. What comes into the ledger from now on is seen, even if this read finds it, too."""
        self._ready.clear()

    async def wait(self) -> None:
        """Wait until something was seen since the last `begin_read`. Raises Unavailable at the end."""
        if self._ended and not self._ready.is_set():
            raise Unavailable(ENDED)
        await self._ready.wait()


class ChangeFeed:
    """The reader of a process, and its subscriptions."""

    def __init__(self, database: Database, timings: Timings = Timings()) -> None:
        self._database = database
        self._timings = timings
        self._jobs: dict[str, set[Subscription | OutputWatch]] = defaultdict(set)
        self._outputs: dict[str, set[OutputWatch]] = defaultdict(set)  # those among them
        self._all: set[Subscription] = set()
        self._calls: WeakSet[Subscription | OutputWatch] = WeakSet()
        self._calls_ended = False
        self._owners: Counter[str | None] = Counter()  # of their jobs; None for those of everybody
        self._seen: Snapshot | None = None
        self._reads = 0
        self._put_since: Position | None = None  # while the changes of a read are given to subscriptions
        self._known: dict[str, int] = {}  # by job: the version that the last read has found
        self._revision = Revision(database, timings.change_recheck_s)
        self._looking: asyncio.TimerHandle | None = None
        self._changed_at = 0.0  # when a change was seen
        self._woken = asyncio.Event()
        self._end_watch: Callable[[], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._waking = False
        self._closed = False
        self._log = logger("changes")

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._read_forever(), name="changes")

    async def close(self) -> None:
        """Read no more, and end all subscriptions and later ones. May be called twice."""
        self._closed = True
        for watch in (*self._all, *chain.from_iterable(self._jobs.values())):
            watch.end()
        if self._looking is not None:
            self._looking.cancel()
        self._stop_watching()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def end_calls(self) -> None:
        """End the subscriptions of the program's own calls, and later ones. May be called twice."""
        self._calls_ended = True
        for watch in self._calls:
            watch.end()

    def wake(self) -> None:
        """Let the reader read soon. From any thread, as often as you like."""
        if self._waking or self._loop is None or not (self._jobs or self._all):
            return
        self._waking = True
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._woken.set)

    def watch_job(self, job_id: str, *, of_call: bool = False) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to one job, as to some."""
        return self.watch_jobs((job_id,), of_call=of_call)

    @asynccontextmanager
    async def watch_jobs(self, ids: Collection[str], *, of_call: bool = False) -> AsyncIterator[Subscription]:
        """Subscribe to some jobs. Read their present state afterwards, so that no change falls between the two.

        `of_call` is for a call of the program's own, which `end_calls` ends.
        """
        subscription = Subscription(self._position, any_job)
        await self._join()
        self._begin_looking(subscription, of_call=of_call)
        for job_id in ids:
            self._jobs[job_id].add(subscription)
        try:
            yield subscription
        finally:
            for job_id in ids:
                _discard(self._jobs, job_id, subscription)

    @asynccontextmanager
    async def watch_output(self, job_id: str, read_to: int, *, of_call: bool = False) -> AsyncIterator[OutputWatch]:
        """Subscribe to the output of a job, and to its end. Read what there is afterwards, likewise."""
        watch = OutputWatch(read_to)
        await self._join()
        self._begin_looking(watch, of_call=of_call)
        self._jobs[job_id].add(watch)
        self._outputs[job_id].add(watch)
        try:
            yield watch
        finally:
            _discard(self._jobs, job_id, watch)
            _discard(self._outputs, job_id, watch)

    @asynccontextmanager
    async def watch_all(self, visible: Visible = EVERYTHING, wanted: Wanted = any_job) -> AsyncIterator[Subscription]:
        """Subscribe to all visible and wanted jobs from now on. `wanted` must not depend on a job's state."""
        subscription = Subscription(self._position, lambda job: visible.sees(job) and wanted(job))
        owner = None if visible.everything else visible.owner
        await self._join()
        self._begin_looking(subscription)
        self._all.add(subscription)
        self._owners[owner] += 1
        try:
            yield subscription
        finally:
            self._all.discard(subscription)
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]

    def _position(self) -> Position:
        if self._put_since is not None:  # some have not got all that the last read has found
            return self._put_since
        assert self._seen is not None  # noqa: S101 - a subscription has joined
        return self._seen.position

    async def _join(self) -> None:
        if not (self._jobs or self._all):
            # There was no subscription: earlier changes are of no interest. Raises Unavailable.
            seen = await self._database.read(Snapshot.of)
            if not (self._jobs or self._all):  # else another came first, which may need changes from before
                self._seen = seen
                self._known = {}

    async def _read_forever(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            self._waking = False
            self._revision.has_changed()  # the read below is the answer to it
            try:
                before = self._seen
                read = partial(self._poll_all, outputs=[*self._outputs])
                (changed, seen, known), newest = await self._database.read(read)
                self._reads += 1
                if self._seen is before:  # else the first subscription has come meanwhile, and begins anew
                    self._seen, self._known = seen, known
                grown = [job_id for job_id, offset in newest.items() if self._see(job_id, offset)]
                if changed or grown:
                    if self._is_quiet:
                        self._look_in(self._timings.change_poll_s)
                    self._changed_at = monotonic()
                if changed:
                    assert before is not None  # noqa: S101 - it has found changes since then
                    await self._put(changed, before.position)
            except StorageError:
                self._log.debug("changes cannot be read")  # of an outage the ledger's writer warns, once
                await self._pause_after_error()
            except Exception:  # noqa: BLE001 - the loop must go on
                self._log.exception("changes cannot be read")
                await self._pause_after_error()
            await asyncio.sleep(MIN_INTERVAL_S)

    async def _put(self, changed: Sequence[tuple[Job, int]], since: Position) -> None:
        """Give the changes that were found since a position to the subscriptions, in slices."""
        self._put_since = since
        began = monotonic()
        for job, size in changed:
            for subscription in (*self._jobs.get(job.id, ()), *self._all):
                subscription.put(job, since, size, self._reads)
                if monotonic() - began > SLICE_S:
                    await asyncio.sleep(0)
                    began = monotonic()
        self._put_since = None  # not where the reader is cancelled: some have not got all then

    async def _pause_after_error(self) -> None:
        """Wait, and have the changes read again: the next look may be seconds away."""
        self._revision.forget()
        await asyncio.sleep(ERROR_PAUSE_S)
        self._woken.set()

    def _begin_looking(self, watch: Subscription | OutputWatch, *, of_call: bool = False) -> None:
        """Look for changes from now on, for a subscription that is about to be added; end it if it comes too late."""
        if of_call:
            self._calls.add(watch)
        if self._closed or (of_call and self._calls_ended):
            watch.end()
        if self._closed:
            return
        if not (self._jobs or self._all):
            # A commit since `_join` has woken nobody, and a read for an earlier subscription may have answered to it.
            self._revision.forget()
            self._look_in(self._timings.change_poll_s)
        if self._end_watch is None:
            self._end_watch = self._database.watch(self.wake)

    def _stop_watching(self) -> None:
        end, self._end_watch = self._end_watch, None
        if end is not None:
            end()

    def _look_in(self, pause_s: float) -> None:
        if self._looking is not None:
            self._looking.cancel()
        # A timer, and no task that waits: it takes a third of the processor time.
        self._looking = asyncio.get_running_loop().call_later(pause_s, self._look)

    def _look(self) -> None:
        """Let the reader read if the ledger has changed, and look again in a while. Ends with the subscriptions."""
        self._looking = None
        if not (self._jobs or self._all):
            self._stop_watching()
            return
        if self._revision.has_changed():
            self._woken.set()
        if not self._is_quiet:
            self._look_in(self._timings.change_poll_s)
        elif self._end_watch is None or self._database.revision() is None:
            self._look_in(self._timings.quiet_poll_s)
        else:  # the watch tells of each commit
            self._look_in(self._timings.recheck_s)

    @property
    def _is_quiet(self) -> bool:
        return monotonic() - self._changed_at > self._timings.quiet_after_s

    def _see(self, job_id: str, newest: int) -> bool:
        """Tell those who read a job's output of its newest offset; return whether it is new to any of them."""
        watches = [watch for watch in self._outputs.get(job_id, ()) if newest > watch.read_to]
        for watch in watches:
            watch.see()
        return bool(watches)

    def _poll_all(
        self, tx: Tx, outputs: list[str]
    ) -> tuple[tuple[list[tuple[Job, int]], Snapshot | None, dict[str, int]], dict[str, int]]:
        """Do as `_poll` does, and return the newest offset of each job whose output is read."""
        return self._poll(tx), chunks.newest(tx, outputs) if outputs else {}

    def _poll(self, tx: Tx) -> tuple[list[tuple[Job, int]], Snapshot | None, dict[str, int]]:
        """Return the changed jobs with their sizes, and what is seen and known then; it may be run twice."""
        seen = self._seen
        if seen is None:
            return [], None, {}
        # Before the rows: what is committed between the two is read twice, not missed.
        now = Snapshot.of(tx)
        first, ended = now.since(seen)
        changes = [row.Change._make(found) for found in tx.all(_changed, end=first)]
        if ended is not None:  # transactions that were going on at the last read
            changes += map(row.Change._make, tx.all(_changed_by, open=ended))
        owners = self._owners  # others change it meanwhile: who has joined before a commit is among them by now
        wanted = [
            change.id
            for change in {change.id: change for change in changes}.values()
            if self._known.get(change.id, 0) < change.version
            and (None in owners or change.owner in owners or change.id in self._jobs)
        ]
        found = [
            (row.decode(values), _size(values))
            for start in range(0, len(wanted), PAGE)
            for values in rows(tx, wanted[start : start + PAGE])
        ]
        # A job may have changed once more since its number was read: that change is in `found`, and is not sent again.
        known = {change.id: change.version for change in changes} | {job.id: job.version for job, _ in found}
        return sorted(found, key=lambda one: (one[0].status.value, one[0].id)), now, known


def _size(values: Sequence[Any]) -> int:
    """Return the bytes of a row's texts."""
    return sum(len(value) for value in values if isinstance(value, str))


def _discard(watches: dict[str, set[W]], job_id: str, watch: W) -> None:
    """Remove a watch of a job, and with the last one the job."""
    watches[job_id].discard(watch)
    if not watches[job_id]:
        del watches[job_id]
