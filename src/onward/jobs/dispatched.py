"""The many jobs of one step: stored with the end of the step, and accepted in chunks.

Chunks become jobs in a transaction that also deletes them, so it does not matter which process does that, and others
write in between.

The file is long because a chunk is stored, published, taken and discarded by statements that share its conditions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple, Protocol

import orjson
import sqlalchemy as sa

from onward.jobs import batches, ledger, refused, uniqueness
from onward.jobs.model import Job, NewJob, UniqueKey
from onward.jobs.on_failure import FailureEnqueuer
from onward.jobs.options import NO_OPTIONS, DispatchOptions
from onward.storage.base import StorageError
from onward.storage.batches import ShortCommits
from onward.storage.lock_order import ALONE
from onward.storage.tables import dispatched
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry import logger

CHUNK = 50
MAX_AT_ONCE = 200  # jobs that one commit accepts at most
LOCKED_S = 1.0  # for which a walk comes back to chunks that others have locked, as other processes do for a moment
LOCKED_PAUSE_S = 0.05
STAGED = 2**62  # in `accepted_at`: of a batch that is not known as a whole yet, and may never be

Insert = Callable[[Tx, NewJob], Job]
_FIELDS = tuple(field.name for field in fields(NewJob) if field.name not in ("pending", "created_at", "unique"))
_insert = sa.insert(dispatched)
_waiting = (dispatched.c.accepted_at <= sa.bindparam("until"), dispatched.c.id > sa.bindparam("after_"))
_next = (
    sa.select(dispatched.c.id, dispatched.c.accepted_at, dispatched.c.jobs)
    .where(*_waiting)
    .order_by(dispatched.c.id)
    .limit(sa.bindparam("limit_", type_=sa.Integer))
    .with_for_update(skip_locked=True)
)
_publish = (
    sa.update(dispatched).where(dispatched.c.batch == sa.bindparam("batch_")).values(accepted_at=sa.bindparam("now"))
)
_discard = sa.delete(dispatched).where(dispatched.c.batch == sa.bindparam("batch_"), dispatched.c.accepted_at == STAGED)
_abandoned = (
    sa.select(dispatched.c.id)
    .where(dispatched.c.accepted_at == STAGED, dispatched.c.id < sa.bindparam("before_"))
    .limit(sa.bindparam("limit_", type_=sa.Integer))
)
_forget = sa.delete(dispatched).where(dispatched.c.id.in_(_abandoned))
_delete = sa.delete(dispatched).where(dispatched.c.id == sa.bindparam("id_"))
_any = sa.select(sa.literal(1)).where(dispatched.c.accepted_at <= sa.bindparam("until")).limit(1)


class JobEnqueuer(FailureEnqueuer, Protocol):
    """Prepares, accepts and dispatches the jobs that handlers dispatch, and those of failures."""

    def prepare_child(
        self,
        parent: Job,
        handler: str,
        params: Mapping[str, Any],
        options: DispatchOptions = NO_OPTIONS,
    ) -> NewJob: ...
    @property
    def route(self) -> Callable[[str, str], str]: ...
    def accept(self, tx: Tx, new: NewJob) -> Job: ...
    def accept_later(self, tx: Tx, new: NewJob) -> Job: ...
    def dispatch_new(self, jobs: list[Job]) -> None: ...
    def dispatch(self, jobs: list[Job]) -> None: ...


class Dispatched(NamedTuple):
    """The jobs of a step: the first chunk, and the others as texts, each with the id of its first job."""

    first: Sequence[NewJob] = ()
    stored: Sequence[tuple[str, str]] = ()
    total: int = 0


NO_JOBS = Dispatched()


async def encode(children: Sequence[NewJob]) -> Dispatched:
    """Encode the jobs of a step ahead of its commit, and let the event loop go on meanwhile."""
    stored = []
    for start in range(CHUNK, len(children), CHUNK):
        stored.append(encode_chunk(children[start : start + CHUNK]))
        await asyncio.sleep(0)
    return Dispatched(children[:CHUNK], stored, len(children))


def encode_chunk(children: Sequence[NewJob]) -> tuple[str, str]:
    """Return the id of a chunk, and its jobs as JSON."""
    return str(children[0].id), orjson.dumps([encoded(child) for child in children]).decode()


def encoded(child: NewJob) -> dict[str, Any]:
    """Return the values of a job for JSON, as an older release reads them if it is not unique."""
    values = {name: getattr(child, name) for name in _FIELDS}
    return values if child.unique is None else {**values, "unique": child.unique}


def _decoded(values: dict[str, Any], accepted_at: int) -> NewJob:
    """Return the job of stored values. Raises TypeError for those of a newer release."""
    unique = values.pop("unique", None)
    return NewJob(**values, created_at=accepted_at, unique=None if unique is None else UniqueKey(**unique))


def stage(tx: Tx, chunks: Sequence[tuple[str, str]], batch_id: str) -> None:
    """Store chunks of a batch, which become jobs once it is published."""
    for id_, text in chunks:
        tx.insert(_insert, {"id": id_, "accepted_at": STAGED, "jobs": text, "batch": batch_id})


def publish(tx: Tx, batch_id: str) -> int:
    """Let the staged chunks of a batch become jobs; return their number."""
    return tx.execute(_publish, batch_=batch_id, now=tx.now)


def discard(tx: Tx, batch_id: str) -> None:
    """Delete the staged chunks of a batch that is not to be."""
    tx.execute(_discard, batch_=batch_id)


def forget_staged(tx: Tx, limit: int, *, before: str) -> int:
    """Delete chunks that were staged with ids below `before`, and never published; return how many, at most `limit`."""
    return tx.execute(_forget, before_=before, limit_=limit)


def accept(tx: Tx, children: Dispatched, insert: Insert) -> list[Job]:
    """Accept the first chunk of a step's jobs, and store the others. Their ids are known already."""
    for id_, text in children.stored:
        tx.insert(_insert, {"id": id_, "accepted_at": tx.now, "jobs": text, "batch": None})
    return [insert(tx, child) for child in children.first]


class Expanded(NamedTuple):
    """The id of the last chunk that was looked at, the jobs that were accepted, and the chunks that were left."""

    last: str
    jobs: list[Job]
    unknown: list[str]


def expand(
    tx: Tx,
    limit: int = CHUNK,
    *,
    insert: Insert,
    older_than_us: int = 0,
    after: str = "",
    tried: list[str] | None = None,
) -> Expanded | None:
    """Accept the next stored chunks of at least that age: about `limit` jobs, and one chunk at least; None without one.

    A chunk of a release that gives jobs more than this one knows stays as it is. `tried` gets the ids of all chunks,
    for the case that the transaction fails.
    """
    found, new = Expanded("", [], []), list[NewJob]()
    rows = tx.all(_next, until=tx.now - older_than_us, after_=after, limit_=max(limit // CHUNK, 1))
    if tried is not None:
        tried[:] = [row[0] for row in rows]
    for id_, accepted_at, text in rows:
        try:
            children = [_decoded({**child}, accepted_at) for child in orjson.loads(text)]
        except (TypeError, ValueError):
            found.unknown.append(id_)
            continue
        tx.execute(_delete, id_=id_)
        new += children
    uniqueness.reserve(tx, new)
    found.jobs.extend(batches.count_made(tx, [insert(tx, child) for child in new]))
    return found._replace(last=rows[-1][0]) if rows else None


async def expand_all(
    writer: Writer,
    insert: Insert,
    dispatch: Callable[[list[Job]], None],
    *,
    enqueuer: FailureEnqueuer,
    left: set[str],
    older_than_us: int = 0,
) -> None:
    """Expand and dispatch chunks in short commits, until none is left but those that cannot become jobs here.

    A job that the ledger refuses is FAILED. `left` gets the ids of the chunks that stay: of a newer release, or after
    an error with another cause; each is logged once. Raises StorageError.
    """
    expansion = _Expansion(writer, insert, enqueuer, left, older_than_us)
    while (jobs := await expansion.next()) is not None:
        dispatch(jobs)
        await expansion.commits.rest()


class _Expansion:
    """One walk over the stored chunks."""

    def __init__(
        self, writer: Writer, insert: Insert, enqueuer: FailureEnqueuer, left: set[str], older_than_us: int
    ) -> None:
        self.commits = ShortCommits(writer, most=MAX_AT_ONCE)
        self._writer = writer
        self._insert = insert
        self._enqueuer = enqueuer
        self._left = left
        self._older_than_us = older_than_us
        self._after = ""
        self._before_locked: str | None = None  # the place of the first chunk that was locked
        self._until: float | None = None  # set where the walk first comes back, however long it took until then
        self._most = MAX_AT_ONCE
        self._tried: list[str] = []
        self._log = logger("maintenance")

    async def next(self) -> list[Job] | None:
        """Accept some chunks, and return their jobs; None once there are no more."""
        try:
            found = await self.commits.run(self._expand)
        except StorageError:
            raise
        except Exception as error:  # whatever is wrong with a chunk, the others do not wait for it
            if not self._tried:
                raise
            return await self._go_past(error)
        if found is None:
            return self._leave_locked() if self._tried else await self._come_back()
        self._after = found.last
        if self._before_locked is not None:  # the next chunks are taken together again
            self._most = MAX_AT_ONCE
        for id_ in found.unknown:
            if self._is_new(id_):
                self._log.warning("dispatched jobs are left to the release that wrote them", id=id_)
        return found.jobs

    def _expand(self, tx: Tx, limit: int) -> Expanded | None:
        """Return None, with the chunks in `_tried`, if they need a unique key that another transaction has locked."""
        self._tried.clear()
        some = partial(
            expand,
            tx,
            min(limit, self._most),
            insert=self._insert,
            older_than_us=self._older_than_us,
            after=self._after,
            tried=self._tried,
        )
        return tx.unless_locked(some)

    def _leave_locked(self) -> list[Job]:
        """Find the chunk that needs the locked key, and go past it: the other chunks do not wait for it."""
        id_ = self._single_chunk()
        if id_ is not None:
            if self._before_locked is None:
                self._before_locked = self._after
            self._after = id_
        return []

    async def _come_back(self) -> list[Job] | None:
        """Go back to the first locked chunk; end the walk if there is none, or if it has come back for long enough."""
        if self._before_locked is None:
            return None
        now = time.monotonic()
        if self._until is None:
            self._until = now + LOCKED_S
        if now > self._until:
            return None
        self._after, self._before_locked, self._most = self._before_locked, None, MAX_AT_ONCE
        await asyncio.sleep(LOCKED_PAUSE_S)
        return []

    async def _go_past(self, error: Exception) -> list[Job]:
        """Find the chunk with the error, divide it or have its job failed; leave it if the error is another one."""
        id_ = self._single_chunk()
        if id_ is None:
            return []
        self._most = MAX_AT_ONCE
        if self._writer.database.driver.refuses_values(error):
            failed = await self._give_up(id_, error)
            if failed is not None:
                return failed
        self._after = id_
        if self._is_new(id_):
            self._log.error("dispatched jobs cannot be accepted; they are tried again", id=id_, exc_info=error)
        return []

    def _single_chunk(self) -> str | None:
        """Return the only chunk that was tried; if there were several, have the next ones tried one by one."""
        if len(self._tried) == 1:
            return self._tried[0]
        self._most = CHUNK
        return None

    async def _give_up(self, chunk: str, error: Exception) -> list[Job] | None:
        """Divide a refused chunk, or make a FAILED job of its only one; None if the ledger refuses that, too."""
        reason = refused.reason_of(error)
        give_up = partial(refused.give_up, chunk=chunk, reason=reason, insert=self._insert, enqueuer=self._enqueuer)
        try:
            failed = await self._writer.run(give_up, ALONE)
        except StorageError:
            raise
        except Exception:  # noqa: BLE001 - the first error is logged
            return None
        for job in failed[:1]:
            self._log.error("a dispatched job was refused, and has failed", job=job.id, exc_info=error)
        return failed

    def _is_new(self, id_: str) -> bool:
        """Return whether the chunk is left for the first time."""
        known = id_ in self._left
        self._left.add(id_)
        return not known


def any_left(tx: Tx, *, older_than_us: int) -> bool:
    """Return whether a chunk of at least that age is stored."""
    return tx.scalar(_any, until=tx.now - older_than_us) is not None


class Expander:
    """Accepts the jobs that steps dispatch in this process, and expands their stored chunks."""

    def __init__(self, writer: Writer, enqueuer: JobEnqueuer) -> None:
        self._writer = writer
        self._enqueuer = enqueuer
        self._more = False  # something was written down since the last look began
        self._task: asyncio.Task[None] | None = None
        self._left: set[str] = set()  # chunks that cannot become jobs here

    def accept(self, tx: Tx, children: Dispatched, insert: Insert | None = None) -> list[Job]:
        """Accept the jobs of a step; those that exist were committed before, and the answer lost."""
        if not children.first:
            return []
        found = ledger.get_many(tx, [child.id or "" for child in children.first])
        return [*found.values()] or accept(tx, children, insert or self._enqueuer.accept)

    def dispatch(self, accepted: list[Job], *, more: bool) -> None:
        """Dispatch the accepted jobs of a step, and if there are more expand them in a task. From the event loop."""
        if not accepted:
            return
        self._enqueuer.dispatch_new(accepted)
        if more:
            self._more = True
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._expand(), name="dispatched jobs")

    async def _expand(self) -> None:
        """Expand all chunks. Maintenance does so, too, if this process does not."""
        log = logger("runner")
        while self._more:
            self._more = False
            try:
                its = self._enqueuer
                await expand_all(self._writer, its.accept_later, its.dispatch_new, enqueuer=its, left=self._left)
            except StorageError:
                log.warning("dispatched jobs are left to maintenance")
            except Exception:  # maintenance tries again, and what is wrong is in the log
                log.exception("dispatched jobs could not be accepted")

    def close(self) -> None:
        """Leave the rest to maintenance."""
        if self._task is not None:
            self._task.cancel()
