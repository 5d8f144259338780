"""Pages of jobs, newest first, by keyset: every page costs the same."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import Any

import sqlalchemy as sa

from onward.jobs import error_text, ledger, row
from onward.jobs.model import Job, JobFilter, Visible
from onward.jobs.states import JobStatus
from onward.storage.tables import BY_BATCH, BY_END, BY_OWNER, BY_PARENT, BY_TIME, jobs, later
from onward.storage.transaction import Tx

_TEXTS = tuple(row.COLUMNS.index(name) for name in sorted(row.LARGE))
WEIGHED_FROM = 10  # rows; the largest row has some megabytes
NARROW = 10_000  # rows of a time that are read by its index; those of more are found sooner in the order of their ids
END_OF_TIME = 2**62
CLOCK_SLACK_US = 3_600_000_000  # a clock may have been set back, and a job that a handler dispatches is a little older

# Unlike `sa.false()` it leaves the other conditions in the statement, without which SQLite refuses the named index.
_NEVER = sa.text("1 = 0")


class PageTooLarge(Exception):
    """The page's rows hold more than is allowed."""


@dataclass(slots=True)
class Allowance:
    """The remaining budget of all pages of one reader: bytes of text, and JSON values in them."""

    bytes: int
    values: int


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
    parent: str | None = None,
    most: Allowance | None = None,
    without: frozenset[str] = frozenset(),
) -> Page:
    """Return the `first` jobs after a job, newest first, or the `last` ones before one; ids are the cursors.

    With a `parent` they are jobs that its handler dispatched. Columns `without` are left empty. What it holds is taken
    from the allowance `most`. Raises PageTooLarge before the rows are decoded, and for a long page before they are
    read.
    """
    backwards = last is not None
    limit = (last if backwards else first) or 0
    conditions = [] if parent is None else [jobs.c.parent == parent]
    if after is not None:
        conditions.append(jobs.c.id < after)
    if before is not None:
        conditions.append(jobs.c.id > before)
    index = _index(tx, visible, filter, parent)
    if most is not None and limit > WEIGHED_FROM:
        sized = [jobs.c.id, _size(without)]
        wanted = _select(sized, visible, filter, conditions, limit + 1, index, oldest_first=backwards)
        sizes = tx.execute_once(wanted)
        if sum(size for _, size in sizes[:limit]) > most.bytes:
            raise PageTooLarge
        more = len(sizes) > limit
        rows = ledger.rows(
            tx, [job_id for job_id, _ in sizes[:limit]], without
        )  # without those that were pruned meanwhile
    else:
        columns = row.columns_without(without)
        wanted = _select(columns, visible, filter, conditions, limit + 1, index, oldest_first=backwards)
        rows = tx.execute_once(wanted)
        more, rows = len(rows) > limit, rows[:limit]
    if most is not None:
        _charge_allowance(rows, most)
    found = [row.decode(values) for values in rows]
    if backwards:
        return Page(tuple(reversed(found)), has_next=before is not None, has_previous=more)
    return Page(tuple(found), has_next=more, has_previous=after is not None)


def named(tx: Tx, ids: Sequence[str], *, most: Allowance, without: frozenset[str] = frozenset()) -> dict[str, Job]:
    """Return the jobs that exist, by their ids, and take them from the allowance. Raises PageTooLarge."""
    rows = ledger.rows(tx, ids, without)
    _charge_allowance(rows, most)
    return {job.id: job for job in map(row.decode, rows)}


def _size(without: frozenset[str]) -> Any:
    """Return the length of a row's large columns."""
    lengths = (sa.func.coalesce(sa.func.length(jobs.c[name]), 0) for name in sorted(row.LARGE - without))
    return reduce(operator.add, lengths, sa.literal_column("0"))


def _charge_allowance(rows: list[Any], most: Allowance) -> None:
    """Take the rows from the allowance: decoded, a byte of JSON can take dozens. Raises PageTooLarge."""
    texts = [row[at] for row in rows for at in _TEXTS if row[at]]
    most.bytes -= sum(map(len, texts))
    most.values -= sum(map(json_values, texts))
    if most.bytes < 0 or most.values < 0:
        raise PageTooLarge


def json_values(text: Any) -> int:
    """Estimate the number of values in a JSON text or in its bytes; punctuation in its strings counts too."""
    marks = ",[{" if isinstance(text, str) else (b",", b"[", b"{")
    return sum(map(text.count, marks))


def ids(tx: Tx, *, visible: Visible, filter: JobFilter, limit: int, beyond: str = "") -> list[str]:
    """Return the ids of the oldest `limit` jobs that match, oldest first, greater than `beyond`."""
    conditions = [jobs.c.id > beyond] if beyond else []
    index = _index(tx, visible, filter)
    found = tx.execute_once(_select([jobs.c.id], visible, filter, conditions, limit, index, oldest_first=True))
    return [job_id for (job_id,) in found]


def count(tx: Tx, *, visible: Visible, filter: JobFilter, limit: int) -> int:
    """Return the number of jobs that match, counted up to `limit`."""
    few = _select([jobs.c.id], visible, filter, [], limit, _index(tx, visible, filter)).subquery()
    ((n,),) = tx.execute_once(sa.select(sa.func.count()).select_from(few))
    return int(n)


def versions(
    tx: Tx, *, visible: Visible, filter: JobFilter, limit: int, among: Collection[str] | None = None
) -> dict[str, int]:
    """Return the versions of the newest `limit` jobs that match, oldest first; only ids `among` these are looked at."""
    conditions = [] if among is None else [jobs.c.id.in_(sorted(among))]
    index = _index(tx, visible, filter) if among is None else None
    found = tx.execute_once(_select([jobs.c.id, jobs.c.version], visible, filter, conditions, limit, index))
    return dict(reversed(found))


def fitting(tx: Tx, ids: Sequence[str], *, bytes: int, without: frozenset[str]) -> list[str]:
    """Return the first of the ids, whose rows hold so many bytes of large columns together; at least one."""
    sizes = dict(map(tuple, tx.execute_once(sa.select(jobs.c.id, _size(without)).where(jobs.c.id.in_(ids)))))
    sums = accumulate(sizes.get(job_id, 0) for job_id in ids)
    return list(ids[: max(1, sum(held <= bytes for held in sums))])


def _select(  # noqa: PLR0917 - private
    columns: Sequence[Any],
    visible: Visible,
    filter: JobFilter,
    conditions: list[Any],
    limit: int,
    index: str | None,
    *,
    oldest_first: bool = False,
) -> Any:
    """Select the first `limit` jobs that match; `index` is of `_index`."""
    conditions = [*_conditions(visible, filter), *conditions]
    if filter.batch is not None:  # of many children a page is found sooner in the order of their ids than by the batch
        conditions.append((jobs.c.batch if index == BY_BATCH else jobs.c.batch.concat("")) == filter.batch)
    statuses = filter.statuses
    if statuses is None:
        statuses = tuple(JobStatus) if index == BY_PARENT else ()
    elif not statuses:
        return sa.select(*columns).where(sa.false())

    def first(of: Any, column: Any) -> Any:
        return of.order_by(column.asc() if oldest_first else column.desc()).limit(limit)

    if index in _UNORDERED:
        if statuses:
            # No index by time has the words of this condition, and no index of statuses is used for them.
            status = jobs.c.status if index == BY_BATCH else jobs.c.status.concat("")
            conditions.append(status.in_([status.value for status in statuses]))
        # Apart from the order, for which PostgreSQL would rather read all jobs by their ids.
        some = _hinted(sa.select(jobs.c.id).where(*conditions), index).cte("some").prefix_with("MATERIALIZED")
        few = first(sa.select(some.c.id), some.c.id)
        return first(sa.select(*columns).where(jobs.c.id.in_(few)), jobs.c.id)
    if len(statuses) > 1:
        # Each status by its own index, then merged: otherwise the whole table is read for a rare one.
        parts = [
            first(
                _hinted(sa.select(jobs.c.id).where(*conditions, jobs.c.status == status.value), index), jobs.c.id
            ).subquery()
            for status in dict.fromkeys(statuses)
        ]
        wanted = sa.union_all(*(sa.select(part.c.id) for part in parts)).subquery()
        return first(sa.select(*columns).where(jobs.c.id.in_(sa.select(wanted.c.id))), jobs.c.id)
    if statuses:
        conditions = [*conditions, jobs.c.status == statuses[0].value]
    return first(_hinted(sa.select(*columns).where(*conditions), index), jobs.c.id)


_UNORDERED = (BY_BATCH, BY_END, BY_TIME)  # indexes whose rows are to be ordered by id


def _index(tx: Tx, visible: Visible, filter: JobFilter, parent: str | None = None) -> str | None:
    """Return the index that finds the jobs; None for that of statuses or ids.

    Left to itself SQLite reads the jobs of all owners in a status for the few of one owner, parent, batch or time.
    """
    if parent is not None:
        return BY_PARENT
    if filter.batch is not None and _is_narrow(tx, BY_BATCH, [jobs.c.batch == filter.batch]):
        return BY_BATCH
    if (filter.owner if visible.everything else visible.owner) is not None:
        return BY_OWNER
    if filter.by_start and _is_narrow(tx, BY_TIME, _starts(filter)):
        return BY_TIME
    return BY_END if filter.finished_after is not None and _is_narrow(tx, BY_END, _ends(filter)) else None


def _is_narrow(tx: Tx, index: str, within: list[Any]) -> bool:
    some = _hinted(sa.select(jobs.c.id).where(*within), index).limit(NARROW).subquery()
    ((n,),) = tx.execute_once(sa.select(sa.func.count()).select_from(some))
    return int(n) < NARROW


def _hinted(select: sa.Select[Any], index: str | None) -> sa.Select[Any]:
    return select if index is None else select.with_hint(jobs, index, "sqlite")


def _conditions(visible: Visible, filter: JobFilter) -> list[Any]:
    found: list[Any] = _times(filter)
    if not visible.everything:
        found.append(jobs.c.owner == visible.owner if visible.owner is not None else _NEVER)
    if filter.owner is not None:
        found.append(jobs.c.owner == filter.owner)
    if filter.handler:
        found.append(named_like(jobs.c.handler, filter.handler))
    if filter.error_code:
        found.append(sa.or_(*(_has_code(code) for code in filter.error_code)))
    if filter.error_message is not None:
        found.append(_has_message(filter.error_message))  # the dearest one: looked at last
    return found


def _times(filter: JobFilter) -> list[Any]:
    # An id starts with about the milliseconds of its creation: it narrows the range, the column decides.
    found: list[Any] = []
    if filter.created_after is not None:
        found += [jobs.c.created_at > filter.created_after, jobs.c.id >= _bound(filter.created_after - CLOCK_SLACK_US)]
    if filter.created_before is not None:
        found += [jobs.c.created_at < filter.created_before, jobs.c.id < _bound(filter.created_before + CLOCK_SLACK_US)]
    if filter.finished_before is not None:
        found.append(jobs.c.id < _bound(filter.finished_before + CLOCK_SLACK_US))
    return found + _ends(filter) + _starts(filter)


# With both ends: PostgreSQL without statistics takes a third of all rows to be beyond one bound, and reads them all.
def _ends(filter: JobFilter) -> list[Any]:
    if not filter.by_end:
        return []
    begin, end = filter.finished_after, filter.finished_before
    return [jobs.c.finished_at > _or(begin, -1), jobs.c.finished_at < _or(end, END_OF_TIME)]


def _starts(filter: JobFilter) -> list[Any]:
    if not filter.by_start:
        return []
    return [later, jobs.c.due_at > _or(filter.run_after, -1), jobs.c.due_at < _or(filter.run_before, END_OF_TIME)]


def _or(time: int | None, otherwise: int) -> int:
    return otherwise if time is None else time


def named_like(column: sa.ColumnElement[str], names: Sequence[str]) -> sa.ColumnElement[bool]:
    """Return a condition: the column is one of the handlers' names, in which `*` stands for any characters."""
    exact = [name for name in names if "*" not in name]
    # Names are lowercase, and SQLite's LIKE ignores case: a pattern with capitals must match none.
    patterns = [name for name in names if "*" in name and name == name.lower()]
    likes = [column.like(_like(pattern), escape="\\") for pattern in patterns]
    return sa.or_(column.in_(exact) if exact else _NEVER, *likes)


def _has_code(code: str) -> sa.ColumnElement[bool]:
    """Return a condition: the error has this code, with which its JSON begins."""
    begin = f'{{"code":{row.encode(code)},'
    return sa.func.substr(jobs.c.error, 1, len(begin)) == begin


def _has_message(message: str) -> sa.ColumnElement[bool]:
    """Return a condition: the error has this message, as the history has it."""
    found: sa.ColumnElement[str] = jobs.c.error
    for old, new in error_text.ONE_LINE.items():
        found = sa.func.replace(found, old, new)
    # Each database has another name for "contains".
    return sa.or_(*(sa.func.replace(found, text, "") != found for text in error_text.sought(message)))


def _bound(us: int) -> str:
    return f"job_{max(min(us // 1000, 2**48 - 1), 0):012x}"


def _like(pattern: str) -> str:
    return pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("*", "%")
