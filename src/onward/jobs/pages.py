"""Pages of jobs, newest first, by keyset: every page costs the same.

The file is long because each filter has to be told to both databases in the words of the index that finds its jobs.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, chain
from time import monotonic
from typing import Any, NamedTuple

import sqlalchemy as sa

from onward.jobs import error_text, ledger, row
from onward.jobs.model import Job, JobFilter, Visible
from onward.jobs.param_filter import ParamFilter
from onward.jobs.states import JobStatus
from onward.storage.tables import (
    BY_BATCH,
    BY_END,
    BY_ERROR,
    BY_OWNER,
    BY_PARENT,
    BY_TIME,
    error_begin,
    jobs,
    later,
    with_error,
)
from onward.storage.transaction import Tx

_TEXTS = tuple(row.COLUMNS.index(name) for name in sorted(row.LARGE))
WEIGHED_FROM = 10  # rows; the largest row has some megabytes
NARROW = 10_000  # rows of a time, or code, that are read by its index; those of more are found sooner in order of ids
END_OF_TIME = 2**62
EXAMINED = 10_000  # jobs whose parameters one read looks at
EXAMINED_IN_COMMIT = 1_000  # the same in a transaction that writes
EXAMINE_S = 0.1  # and no further ones after this time, since parameters may be long
SLICE = 500  # of them, in one statement
EXACT_BYTES = 1_000_000  # of parameters that are decoded at once
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


class Page(NamedTuple):
    jobs: tuple[Job, ...]
    has_next: bool
    has_previous: bool
    start: str | None
    end: str | None
    """The ids to go on from: those of the outer jobs, or of the last job that a filter by parameters has looked at."""


class Found(NamedTuple):
    """The ids that match, in order, and the job to go on behind; None if none was left to look at."""

    ids: list[str]
    beyond: str | None


class Counted(NamedTuple):
    n: int
    beyond: str | None
    """The job to go on behind; None if there is no further one, or the limit is reached."""


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
    read. With a filter by parameters it may hold fewer jobs, or none, and yet have a next page.
    """
    backwards = last is not None
    limit = (last if backwards else first) or 0
    conditions = [] if parent is None else [jobs.c.parent == parent]
    if after is not None:
        conditions.append(jobs.c.id < after)
    if before is not None:
        conditions.append(jobs.c.id > before)
    index = _index(tx, visible, filter, parent)
    rest, looked_to = filter, None
    if filter.params:
        matching = _search(tx, visible, filter, conditions, limit + 1, index, oldest_first=backwards)
        looked_to = matching.beyond if len(matching.ids) <= limit else None
        rest, conditions, index = JobFilter(), [jobs.c.id.in_(matching.ids)], None
    if most is not None and limit > WEIGHED_FROM:
        sized = [jobs.c.id, _size(without)]
        wanted = _select(sized, visible, rest, conditions, limit + 1, index, oldest_first=backwards)
        sizes = tx.execute_once(wanted)
        if sum(size for _, size in sizes[:limit]) > most.bytes:
            raise PageTooLarge
        more = len(sizes) > limit
        rows = ledger.rows(
            tx, [job_id for job_id, _ in sizes[:limit]], without
        )  # without those that were pruned meanwhile
    else:
        columns = row.columns_without(without)
        wanted = _select(columns, visible, rest, conditions, limit + 1, index, oldest_first=backwards)
        rows = tx.execute_once(wanted)
        more, rows = len(rows) > limit, rows[:limit]
    if most is not None:
        _charge_allowance(rows, most)
    found = tuple(row.decode(values) for values in rows)
    more = more or looked_to is not None
    nearest, farthest = (found[0].id, found[-1].id) if found else (looked_to, None)
    farthest = looked_to or farthest
    if backwards:
        return Page(found[::-1], has_next=before is not None, has_previous=more, start=farthest, end=nearest)
    return Page(found, has_next=more, has_previous=after is not None, start=nearest, end=farthest)


def named(tx: Tx, ids: Sequence[str], *, most: Allowance, without: frozenset[str] = frozenset()) -> dict[str, Job]:
    """Return the jobs that exist, by their ids, and take them from the allowance.

    Raises PageTooLarge before the rows are decoded, and for many jobs before they are read.
    """
    if len(ids) > WEIGHED_FROM:
        sizes = tx.execute_once(sa.select(_size(without)).where(jobs.c.id.in_(ids)))
        if sum(size for (size,) in sizes) > most.bytes:
            raise PageTooLarge
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


def ids(tx: Tx, *, visible: Visible, filter: JobFilter, limit: int, beyond: str = "") -> Found:
    """Return the ids of the oldest `limit` jobs that match, oldest first, greater than `beyond`.

    With a filter by parameters there may be fewer, and yet further ones behind.
    """
    conditions = [jobs.c.id > beyond] if beyond else []
    index = _index(tx, visible, filter)
    if filter.params:
        return _search(tx, visible, filter, conditions, limit, index, oldest_first=True, most=EXAMINED_IN_COMMIT)
    rows = tx.execute_once(_select([jobs.c.id], visible, filter, conditions, limit, index, oldest_first=True))
    found = [job_id for (job_id,) in rows]
    return Found(found, found[-1] if found and len(found) == limit else None)


def count(tx: Tx, *, visible: Visible, filter: JobFilter, limit: int, beyond: str = "") -> Counted:
    """Return the number of jobs that match, counted up to `limit`: all of them, or those beyond a job.

    With a filter by parameters it is of a part, and says where to go on.
    """
    index = _index(tx, visible, filter)
    conditions = [jobs.c.id < beyond] if beyond else []
    if filter.params:
        found = _search(tx, visible, filter, conditions, limit, index)
        return Counted(len(found.ids), None if len(found.ids) == limit else found.beyond)
    few = _select([jobs.c.id], visible, filter, conditions, limit, index).subquery()
    ((n,),) = tx.execute_once(sa.select(sa.func.count()).select_from(few))
    return Counted(int(n), None)


def versions(
    tx: Tx, *, visible: Visible, filter: JobFilter, limit: int, among: Collection[str] | None = None
) -> dict[str, int]:
    """Return the versions of the newest `limit` jobs that match, oldest first; only ids `among` these are looked at."""
    conditions = [] if among is None else [jobs.c.id.in_(sorted(among))]
    rest, index = filter, _index(tx, visible, filter) if among is None else None
    if filter.params:
        matching = _search(tx, visible, filter, conditions, limit, index)
        rest, conditions, index = JobFilter(), [jobs.c.id.in_(matching.ids)], None
    found = tx.execute_once(_select([jobs.c.id, jobs.c.version], visible, rest, conditions, limit, index))
    return dict(reversed(found))


def fitting(tx: Tx, ids: Sequence[str], *, bytes: int, without: frozenset[str]) -> list[str]:
    """Return the first of the ids, whose rows hold so many bytes of large columns together; at least one."""
    sizes = dict(map(tuple, tx.execute_once(sa.select(jobs.c.id, _size(without)).where(jobs.c.id.in_(ids)))))
    sums = accumulate(sizes.get(job_id, 0) for job_id in ids)
    return list(ids[: max(1, sum(held <= bytes for held in sums))])


def _search(  # noqa: PLR0917 - private
    tx: Tx,
    visible: Visible,
    filter: JobFilter,
    conditions: list[Any],
    limit: int,
    index: str | None,
    *,
    most: int | None = None,
    oldest_first: bool = False,
) -> Found:
    """Look at the parameters of the first jobs that match otherwise, until `limit` of them match, or enough is read.

    No index has the parameters. The database finds the text of a value, the same on each, and `ParamFilter` decides.
    """
    found: list[str] = []
    looked, until = 0, monotonic() + EXAMINE_S
    beyond: str | None = None
    columns = [jobs.c.id, sa.and_(*(_may_match(one) for one in filter.params))]
    while True:
        place: list[Any] = []
        if beyond is not None:
            place = [jobs.c.id > beyond if oldest_first else jobs.c.id < beyond]
        rows = tx.execute_once(
            _select(columns, visible, filter, [*conditions, *place], SLICE, index, oldest_first=oldest_first)
        )
        found += _exact(tx, filter, [job_id for job_id, may in rows if may], limit - len(found))
        if len(found) >= limit:
            return Found(found, found[-1] if found else beyond)
        if len(rows) < SLICE:
            return Found(found, None)
        looked, beyond = looked + SLICE, rows[-1][0]
        if looked >= (most or EXAMINED) or monotonic() > until:
            return Found(found, beyond)


def _may_match(wanted: ParamFilter) -> sa.ColumnElement[bool]:
    """Return a condition that all jobs meet whose parameters match, and few others."""
    return sa.or_(*(jobs.c.params.contains(text, autoescape=True) for text in wanted.texts))


def _exact(tx: Tx, filter: JobFilter, ids: list[str], limit: int) -> list[str]:
    """Return the first `limit` of the ids, whose parameters match."""
    found: list[str] = []
    while ids and len(found) < limit:
        some = fitting(tx, ids[: limit - len(found)], bytes=EXACT_BYTES, without=row.LARGE - {"params"})
        stored = {job.id: job for job in map(row.decode, ledger.rows(tx, some, row.LARGE - {"params"}))}
        found += [job_id for job_id in some if (job := stored.get(job_id)) is not None and filter.allows_params(job)]
        ids = ids[len(some) :]
    return found


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
    if index == BY_ERROR:
        conditions += _errors(filter.error_code)
    statuses = filter.statuses
    if statuses is None:
        statuses = tuple(JobStatus) if index == BY_PARENT else ()
    elif not statuses:
        return sa.select(*columns).where(sa.false())

    def first(of: Any, column: Any) -> Any:
        return of.order_by(column.asc() if oldest_first else column.desc()).limit(limit)

    if index in _UNORDERED:
        conditions += _any_of(statuses, index)
        # Apart from the order, for which PostgreSQL would rather read all jobs by their ids.
        some = _hinted(sa.select(jobs.c.id).where(*conditions), index).cte("some").prefix_with("MATERIALIZED")
        few = first(sa.select(some.c.id), some.c.id)
        return first(sa.select(*columns).where(jobs.c.id.in_(few)), jobs.c.id)
    # Each part by its own index, then merged: otherwise the whole table is read for a rare one.
    parts: list[list[Any]] = [[jobs.c.status == status.value] for status in dict.fromkeys(statuses)]
    if index == IN_ORDER_OF_ERRORS:
        conditions += _any_of(statuses, index)
        parts, index = [_errors([code]) for code in dict.fromkeys(filter.error_code)], BY_ERROR
    if len(parts) > 1:
        of_parts = (
            first(_hinted(sa.select(jobs.c.id).where(*conditions, *part), index), jobs.c.id).subquery()
            for part in parts
        )
        wanted = sa.union_all(*(sa.select(part.c.id) for part in of_parts)).subquery()
        return first(sa.select(*columns).where(jobs.c.id.in_(sa.select(wanted.c.id))), jobs.c.id)
    return first(_hinted(sa.select(*columns).where(*conditions, *chain.from_iterable(parts)), index), jobs.c.id)


def _any_of(statuses: Sequence[JobStatus], index: str) -> list[Any]:
    if not statuses:
        return []
    # No index by time has the words of this condition, and no index of statuses is used for them.
    status: Any = jobs.c.status if index == BY_BATCH else jobs.c.status.concat("")
    return [status.in_([one.value for one in statuses])]


IN_ORDER_OF_ERRORS = "in the order of ids, code by code"  # by the index of errors
_UNORDERED = (BY_BATCH, BY_END, BY_ERROR, BY_TIME)  # indexes whose rows are to be ordered by id


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
    if filter.finished_after is not None and _is_narrow(tx, BY_END, _ends(filter)):
        return BY_END
    return _index_of_errors(tx, filter) if filter.error_code else None


def _index_of_errors(tx: Tx, filter: JobFilter) -> str | None:
    frequent = filter.statuses is None or JobStatus.FAILED in filter.statuses  # others have few jobs with an error
    if frequent and not filter.handler and filter.error_message is None:
        return IN_ORDER_OF_ERRORS  # the jobs of a code are in the order of their ids there, however many they are
    return BY_ERROR if _is_narrow(tx, BY_ERROR, _errors(filter.error_code)) else None


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
    begin = _error_with(code)
    return sa.func.substr(jobs.c.error, 1, len(begin)) == begin


def _error_with(code: str) -> str:
    return f'{{"code":{row.encode(code)},'


def _errors(codes: Sequence[str]) -> list[Any]:
    """Return conditions that the index of errors knows, and that jobs with these codes meet."""
    begins = [begin[: begin.index('",') + 1] for begin in map(_error_with, codes)]
    return [with_error, sa.type_coerce(error_begin, sa.Text).in_(begins)]


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
