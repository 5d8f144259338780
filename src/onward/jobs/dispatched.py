"""Many jobs that one step has dispatched: written down with the end of the step, and accepted in chunks.

Each chunk becomes jobs in a transaction that also deletes it, so it does not matter which process does that, and others
write in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from time import monotonic

import orjson
import sqlalchemy as sa
import structlog

from onward.jobs.model import Job, NewJob
from onward.storage.lock_order import LAST
from onward.storage.tables import dispatched
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

CHUNK = 200

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


def accept(tx: Tx, children: Sequence[NewJob], insert: Callable[[Tx, NewJob], Job]) -> list[Job]:
    """Accept the first chunk of a step's jobs, and write the others down. Their ids are known already."""
    for start in range(CHUNK, len(children), CHUNK):
        chunk = children[start : start + CHUNK]
        rows = [{name: getattr(child, name) for name in _FIELDS} for child in chunk]
        tx.insert(_insert, {"id": chunk[0].id, "accepted_at": tx.now, "jobs": orjson.dumps(rows).decode()})
    return [insert(tx, child) for child in children[:CHUNK]]


def expand(
    tx: Tx, insert: Callable[[Tx, NewJob], Job], *, older_than_us: int = 0, after: str = ""
) -> tuple[str, list[Job]] | None:
    """Make jobs of the next chunk that was written down so long ago, and return its id and them; None without one.

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
    insert: Callable[[Tx, NewJob], Job],
    dispatch: Callable[[list[Job]], None],
    *,
    older_than_us: int = 0,
) -> None:
    """Expand and dispatch one chunk after another; half of the writer's time is left to others. Raises Unavailable."""
    after = ""
    while True:
        begun = monotonic()
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
        await asyncio.sleep(monotonic() - begun)


def any_left(tx: Tx, *, older_than_us: int) -> bool:
    """True if a chunk was written down so long ago."""
    return tx.scalar(_any, until=tx.now - older_than_us) is not None
