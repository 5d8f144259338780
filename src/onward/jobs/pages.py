"""Pages of jobs, newest first, by keyset: a page costs the same wherever it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from onward.jobs import row
from onward.jobs.model import Job, JobFilter, Visible
from onward.storage.tables import jobs
from onward.storage.transaction import Tx

CLOCK_SLACK_US = 3_600_000_000  # a clock may have been set back, and a job that a handler dispatches is a little older


@dataclass(frozen=True, slots=True)
class Page:
    jobs: tuple[Job, ...]
    has_next: bool
    has_previous: bool


def page(
    tx: Tx,
    *,
    visible: Visible,
    filter: JobFilter,
    first: int | None = None,
    last: int | None = None,
    after: str | None = None,
    before: str | None = None,
) -> Page:
    """The `first` jobs after a job, newest first, or the `last` ones before one; ids are the cursors."""
    backwards = last is not None
    limit = (last if backwards else first) or 0
    conditions = []
    if after is not None:
        conditions.append(jobs.c.id < after)
    if before is not None:
        conditions.append(jobs.c.id > before)
    order = jobs.c.id.asc() if backwards else jobs.c.id.desc()
    rows = tx.execute_once(_select(row.ALL, visible, filter, conditions, order, limit + 1))
    more = len(rows) > limit
    found = [row.decode(values) for values in rows[:limit]]
    if backwards:
        return Page(tuple(reversed(found)), has_next=before is not None, has_previous=more)
    return Page(tuple(found), has_next=more, has_previous=after is not None)


def ids(tx: Tx, *, visible: Visible, filter: JobFilter, limit: int) -> list[str]:
    """The ids of the oldest `limit` jobs that match."""
    return [job_id for (job_id,) in tx.execute_once(_select([jobs.c.id], visible, filter, [], jobs.c.id.asc(), limit))]


def _select(  # noqa: PLR0917 - private
    columns: Sequence[Any], visible: Visible, filter: JobFilter, conditions: list[Any], order: Any, limit: int
) -> Any:
    conditions = [*_conditions(visible, filter), *conditions]
    if len(filter.status) > 1:
        # Each status by its own index, then merged: otherwise the whole table is read for a rare one.
        parts = [
            _by_owner(sa.select(jobs.c.id).where(*conditions, jobs.c.status == status.value), visible)
            .order_by(order)
            .limit(limit)
            .subquery()
            for status in dict.fromkeys(filter.status)
        ]
        wanted = sa.union_all(*(sa.select(part.c.id) for part in parts)).subquery()
        return sa.select(*columns).where(jobs.c.id.in_(sa.select(wanted.c.id))).order_by(order).limit(limit)
    if filter.status:
        conditions = [*conditions, jobs.c.status == filter.status[0].value]
    return _by_owner(sa.select(*columns).where(*conditions), visible).order_by(order).limit(limit)


def _by_owner(select: sa.Select[Any], visible: Visible) -> sa.Select[Any]:
    # Left to itself SQLite reads the jobs of all owners in a status for the few of one owner.
    if visible.everything or visible.owner is None:
        return select
    return select.with_hint(jobs, "INDEXED BY jobs_by_owner", "sqlite")


def _conditions(visible: Visible, filter: JobFilter) -> list[Any]:
    found: list[Any] = []
    if not visible.everything:
        found.append(jobs.c.owner == visible.owner if visible.owner is not None else sa.false())
    if filter.handler:
        exact = [name for name in filter.handler if "*" not in name]
        # Names are lowercase, and SQLite's LIKE ignores case: a pattern with capitals must match none.
        patterns = [name for name in filter.handler if "*" in name and name == name.lower()]
        likes = [jobs.c.handler.like(_like(pattern), escape="\\") for pattern in patterns]
        found.append(sa.or_(jobs.c.handler.in_(exact) if exact else sa.false(), *likes))
    # An id starts with about the milliseconds of its creation: it narrows the range, the column decides.
    if filter.created_after is not None:
        found += [jobs.c.created_at > filter.created_after, jobs.c.id >= _bound(filter.created_after - CLOCK_SLACK_US)]
    if filter.created_before is not None:
        found += [jobs.c.created_at < filter.created_before, jobs.c.id < _bound(filter.created_before + CLOCK_SLACK_US)]
    return found


def _bound(us: int) -> str:
    return f"job_{max(min(us // 1000, 2**48 - 1), 0):012x}"


def _like(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
