"""The many jobs of one step: stored with the end of the step, and accepted in chunks.

Each chunk becomes jobs in a transaction that also deletes it, so it does not matter which process does that, and others
write in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from time import monotonic
from typing import Any, Protocol

import orjson
import sqlalchemy as sa
import structlog

from onward.jobs import ledger
from onward.jobs.model import Job, NewJob
from onward.storage.base import StorageError
from onward.storage.lock_order import LAST
from onward.storage.tables import dispatched
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

CHUNK = 200

Insert = Callable[[Tx, NewJob], Job]
_FIELDS = tuple(field.name for field in fields(NewJob) if field.name not in ("pending", "created_at"))
_insert = sa.insert(dispatched)
_next = (
    sa.select(dispatched.c.id, dispatched.c.accepted_at, dispatched.c.jobs)
    .where(dispatched.c.accepted_at <= sa.bindparam("until"), dispatched.c.id > sa.bindparam("after_"))
    .order_by(dispatched.c.id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_delete = sa.delete(dispatched).where(dispatched.c.id == sa.bindparam("id_"))
_any = sa.select(sa.literal(1)).where(dispatched.c.accepted_at <= sa.bindparam("until")).limit(1)


class JobEnqueuer(Protocol):
    """Prepares, accepts and dispatches the jobs that handlers dispatch."""

    def prepare_child(
        self, parent: Job, handler: str, params: Mapping[str, Any], run_at: int | None = None
    ) -> NewJob: ...
    def accept(self, tx: Tx, new: NewJob) -> Job: ...
    def accept_later(self, tx: Tx, new: NewJob) -> Job: ...
    def dispatch_new(self, jobs: list[Job]) -> None: ...
    def dispatch(self, jobs: list[Job]) -> None: ...


def accept(tx: Tx, children: Sequence[NewJob], insert: Insert) -> list[Job]:
    """Accept the first chunk of a step's jobs, and store the others. Their ids are known already."""
    for start in range(CHUNK, len(children), CHUNK):
        chunk = children[start : start + CHUNK]
        rows = [{name: getattr(child, name) for name in _FIELDS} for child in chunk]
        tx.insert(_insert, {"id": chunk[0].id, "accepted_at": tx.now, "jobs": orjson.dumps(rows).decode()})
    return [insert(tx, child) for child in children[:CHUNK]]


def expand(tx: Tx, insert: Insert, *, older_than_us: int = 0, after: str = "") -> tuple[str, list[Job]] | None:
    """Accept the next stored chunk of at least that age, and return its id and jobs; None without one.

    A chunk of a release that gives jobs more than this one knows stays as it is.
    """
    found = tx.one(_next, until=tx.now - older_than_us, after_=after)
    if found is None:
        return None
    id_, accepted_at, text = found
    try:
        children = [NewJob(**{**child, "created_at": accepted_at}) for child in orjson.loads(text)]
    except (TypeError, ValueError):
        return id_, []
    tx.execute(_delete, id_=id_)
    return id_, [insert(tx, child) for child in children]


async def expand_all(
    writer: Writer,
    insert: Insert,
    dispatch: Callable[[list[Job]], None],
    *,
    older_than_us: int = 0,
) -> None:
    """Expand and dispatch one chunk after another; half of the writer's time is left to others. Raises Unavailable."""
    after = ""
    while True:
        started = monotonic()
        run = partial(expand, insert=insert, older_than_us=older_than_us, after=after)
        found = await writer.run(run, LAST)
        if found is None:
            return
        after, jobs = found
        if not jobs:
            structlog.get_logger("maintenance").warning(
                "dispatched jobs are left to the release that wrote them", id=after
            )
        dispatch(jobs)
        await asyncio.sleep(monotonic() - started)


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

    def accept(self, tx: Tx, children: Sequence[NewJob]) -> list[Job]:
        """Accept the jobs of a step; those that exist were committed before, and the answer lost."""
        first = [child.id or "" for child in children[:CHUNK]]
        found = ledger.get_many(tx, first) if first else {}
        return [*found.values()] or accept(tx, children, self._enqueuer.accept)

    def dispatch(self, accepted: list[Job], *, of: int) -> None:
        """Dispatch the accepted jobs of a step, and expand the others in a task. From the event loop."""
        self._enqueuer.dispatch_new(accepted)
        if accepted and len(accepted) < of:
            self._more = True
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._expand(), name="dispatched jobs")

    async def _expand(self) -> None:
        """Expand all chunks. Maintenance does so, too, if this process does not."""
        log = structlog.get_logger("runner")
        while self._more:
            self._more = False
            try:
                await expand_all(self._writer, self._enqueuer.accept_later, self._enqueuer.dispatch_new)
            except StorageError:
                log.warning("dispatched jobs are left to maintenance")
            except Exception:  # maintenance tries again, and what is wrong is in the log
                log.exception("dispatched jobs could not be accepted")

    def close(self) -> None:
        """Leave the rest to maintenance."""
        if self._task is not None:
            self._task.cancel()
