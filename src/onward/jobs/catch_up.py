"""Changes since a position, for a subscriber that comes back. Their number is bounded."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import sqlalchemy as sa

from onward.jobs import row
from onward.jobs.base import JobsError
from onward.jobs.model import JobFilter, Visible
from onward.jobs.position import Position, Snapshot
from onward.storage.sql import as_list, from_on, in_array
from onward.storage.tables import BY_CHANGE, jobs
from onward.storage.transaction import Tx

MAX_CHANGES = 10_000  # as many as a subscriber may be behind while it is there

_p = sa.bindparam
_missed = sa.select(*row.columns(row.Missed))
_of = _missed.where(in_array(jobs.c.id, "ids"))
_since = (
    _missed.where(from_on(jobs.c.changed, "end"))
    .order_by(jobs.c.changed)
    .limit(_p("limit_", type_=sa.Integer))
    .with_hint(jobs, BY_CHANGE, "sqlite")
)
_count = sa.select(sa.func.count()).select_from(
    sa.select(jobs.c.changed)
    .where(from_on(jobs.c.changed, "end"))
    .order_by(jobs.c.changed)
    .limit(_p("limit_", type_=sa.Integer))
    .with_hint(jobs, BY_CHANGE, "sqlite")
    .subquery()
)
_by = _missed.where(sa.text("changed = ANY(CAST(:open AS BIGINT[]))")).limit(_p("limit_", type_=sa.Integer))


class UnknownPosition(JobsError):
    """The position is none of this ledger: of another one, or ahead of it, as after a backup was restored."""


class TooFarBehind(JobsError):
    """More than `MAX_CHANGES` jobs have changed since."""


class CatchUp(NamedTuple):
    """The changed jobs: those of transactions that ended late, then the others in the order of their changes."""

    since: Position
    late: list[row.Missed]
    later: list[row.Missed]
    end: Position

    @property
    def ids(self) -> list[str]:
        """The ids of the jobs, in their order."""
        return [one.id for one in (*self.late, *self.later)]

    def after(self, at: int) -> Position:
        """Return the position of a subscriber that has got the jobs up to this one, and no more."""
        upcoming = at + 1 - len(self.late)
        if upcoming < 0:
            return self.since
        if upcoming >= len(self.later):
            return self.end
        return self.end.at(min(self.later[upcoming].changed, self.end.end))


def catch_up(
    tx: Tx, since: Position, *, visible: Visible, filter: JobFilter, ids: Collection[str] | None = None
) -> CatchUp:
    """Find the jobs that have changed since, among `ids` if they are given. Raises UnknownPosition and TooFarBehind.

    Those outside the filter's status are among them, since they may have been inside.
    """
    now = Snapshot.of(tx)
    if since.ledger != now.ledger or since.end > now.end:
        raise UnknownPosition
    late, later = _read(tx, since) if ids is None else _read_of(tx, since, ids)

    def wanted(found: list[row.Missed]) -> list[row.Missed]:
        return [one for one in found if visible.sees_jobs_of(one.owner) and filter.allows(one)]

    return CatchUp(since, wanted(late), wanted(later), now.position)


def _read(tx: Tx, since: Position) -> tuple[list[row.Missed], list[row.Missed]]:
    """Read the changes of transactions that were open, and those of later numbers."""
    if (tx.scalar(_count, end=since.end, limit_=MAX_CHANGES + 1) or 0) > MAX_CHANGES:
        raise TooFarBehind  # before the rows are read, which takes a hundred times as long
    late: list[row.Missed] = []
    if since.open and tx.dialect == "postgresql":
        ended = "{" + ",".join(map(str, since.open)) + "}"
        late = [row.Missed._make(found) for found in tx.all(_by, open=ended, limit_=MAX_CHANGES + 1)]
    later = [row.Missed._make(found) for found in tx.all(_since, end=since.end, limit_=MAX_CHANGES + 1)]
    if len(late) + len(later) > MAX_CHANGES:
        raise TooFarBehind
    return late, later


def _read_of(tx: Tx, since: Position, ids: Collection[str]) -> tuple[list[row.Missed], list[row.Missed]]:
    """Read the same of jobs that are given, however many others have changed."""
    found = [row.Missed._make(values) for values in tx.all(_of, ids=as_list(sorted(ids)))]
    late = [one for one in found if one.changed < since.end and since.includes(one.changed)]
    return late, sorted((one for one in found if one.changed >= since.end), key=lambda one: one.changed)
