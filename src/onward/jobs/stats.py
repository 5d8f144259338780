"""Reads of the history: what each handler's jobs did in a time, and the errors of those that failed.

The figures of commits that maintenance has not added up yet are part of the answer, so it
is exact to the last commit.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from onward.jobs.history_rows import COUNTS, Added, Group, Sums
from onward.jobs.model import to_us
from onward.jobs.pages import named_like
from onward.jobs.stats_step import DAY_US, HOUR_US, KEPT_US, LENGTH_US, MINUTE_US, StatsStep
from onward.storage.tables import failures, figures, history
from onward.storage.transaction import Tx
from onward.text.patterns import matches

ROWS = 50_000  # of the history, or figures of commits, that one answer is made of
SCANNED = 200_000  # rows of errors, which the database adds up
GROUPS = 1_000  # of errors in an answer
SLACK_US = 10 * MINUTE_US  # the caller's clock, and the way here; rows are kept for an hour longer
ALL = "*"  # in place of a handler: all that an answer is of
_KINDS = {MINUTE_US: StatsStep.MINUTE, HOUR_US: StatsStep.HOUR, DAY_US: StatsStep.DAY}
_KEPT = {StatsStep.MINUTE: "24 hours", StatsStep.HOUR: "35 days", StatsStep.DAY: "400 days"}
_FRESH = -1  # in place of a row's step: the figures of a commit
_LAST = to_us(datetime.max.replace(tzinfo=UTC))  # no datetime is later


class WrongRange(ValueError):
    """The history cannot answer for this time; the message says what to ask for instead."""


class TooMuch(WrongRange):
    """The answer would be too large, or take too many rows."""


class Behind(Exception):
    """Too many commits are not added up yet."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time in microseconds, without its end."""

    begin: int
    end: int


class HandlerStats(NamedTuple):
    """The figures of a handler in a time."""

    handler: str
    span: Span
    sums: Sums

    @property
    def counts(self) -> dict[str, int]:
        """The number of jobs by `history_rows.COUNTS`."""
        return dict(zip(COUNTS, self.sums.counts, strict=True))


class Failure(NamedTuple):
    """Failed jobs of a handler with the same error."""

    handler: str
    code: str
    message: str
    group: Group
    trend: tuple[int, ...]
    """The number in each part of the time."""


class _Part(NamedTuple):
    """A part of a time, and the length of the rows that it is read from."""

    length: int
    begin: int
    end: int


def stats(
    tx: Tx,
    span: Span,
    *,
    handler: Sequence[str] = (),
    step: StatsStep = StatsStep.TOTAL,
    together: bool = False,
) -> list[HandlerStats]:
    """Return what each handler did in each step of the time, by time and name; nothing for a step without any job.

    `together`: what all of them did, as the figures of one that is called `ALL`. The time is widened to whole minutes,
    or to whole hours and days where minutes and hours are kept no more. Raises WrongRange, TooMuch and Behind.
    """
    span = _widened(span, step, tx.now)
    parts = _parts(span) if step is StatsStep.TOTAL else [_Part(LENGTH_US[step], span.begin, span.end)]
    found: dict[tuple[int, str], Sums] = {}
    length = 0 if step is StatsStep.TOTAL else LENGTH_US[step]

    def sums(at: int, of: str) -> Sums:
        return found.setdefault((at - at % length if length else span.begin, ALL if together else of), Sums())

    added = Added()
    for kind, at, of, *counts, waits, runs in _read(tx, parts, handler, by_time=bool(length), by_handler=not together):
        if kind == _FRESH:
            added.add(at, waits)
        else:
            sums(at or span.begin, of).add(counts, waits, runs, kept=bool(length) and together)
    for (minute, named), new in added.sums().items():
        if span.begin <= minute < span.end and _wanted(named, handler):
            sums(minute, named).merge(new)
    return [HandlerStats(of, Span(at, at + length) if length else span, found[at, of]) for at, of in sorted(found)]


def failed(tx: Tx, span: Span, *, handler: Sequence[str] = (), parts: int = 1) -> list[Failure]:
    """Return the errors of jobs that have failed in the time: the `GROUPS` most frequent, in this order.

    The time is widened to whole hours, and divided into at most so many equal `parts` of whole hours; the last one may
    be shorter. Raises WrongRange, TooMuch and Behind.
    """
    span = _widened(span, StatsStep.HOUR, tx.now)
    length = -(-(span.end - span.begin) // (parts * HOUR_US)) * HOUR_US
    parts = -(-(span.end - span.begin) // length)
    found: dict[tuple[str, str, str], tuple[Group, list[int]]] = {}
    added = Added()

    def add(key: tuple[str, str, str], new: Group, counts: Sequence[int]) -> None:
        group, known = found.setdefault(key, (Group(0, new.first_at, new.last_at), [0] * parts))
        group.add(new.n, new.first_at, new.last_at)
        known[:] = map(operator.add, known, counts)

    for kind, of, code, message, n, first_at, last_at, *counts in _read_failures(tx, span, length, parts, handler):
        if kind == _FRESH:
            added.add(first_at, message)
        else:
            add((of, code, message), Group(n, first_at, last_at), counts)
    for (hour, of, code, message), new in added.groups.items():
        if span.begin <= hour < span.end and _wanted(of, handler):
            add((of, code, message), new, [new.n * (part == (hour - span.begin) // length) for part in range(parts)])
    ordered = sorted(found.items(), key=lambda item: (-item[1][0].n, item[0]))
    return [Failure(*key, group, tuple(counts)) for key, (group, counts) in ordered[:GROUPS]]


def _widened(span: Span, step: StatsStep, now: int) -> Span:
    """Check the time, and widen it to the rows that it is read from. Raises WrongRange."""
    if span.end <= span.begin:
        raise WrongRange("`to` must be later than `from`")
    kept = StatsStep.DAY if step is StatsStep.TOTAL else step
    if span.begin < now - KEPT_US[kept] - SLACK_US:
        further = "" if kept is StatsStep.DAY else ", or for a longer step"
        raise WrongRange(f"figures of a {kept.lower()} are kept for {_KEPT[kept]}: ask for a later `from`{further}")
    first, last = (_finest(at, now) if step is StatsStep.TOTAL else LENGTH_US[step] for at in (span.begin, span.end))
    return Span(span.begin - span.begin % first, min(-(-span.end // last) * last, _LAST))


def _finest(at: int, now: int) -> int:
    """Return the length of the shortest rows that are kept of a time."""
    return next(LENGTH_US[step] for step in LENGTH_US if at >= now - KEPT_US[step] or step is StatsStep.DAY)


def _parts(span: Span) -> list[_Part]:
    """Divide a time into minutes, hours, days, hours and minutes: as few rows as possible."""
    parts: list[_Part] = []
    begin, end = span.begin, span.end
    for length, longer in ((MINUTE_US, HOUR_US), (HOUR_US, DAY_US)):
        first, last = -(-begin // longer) * longer, end // longer * longer
        if first >= last:
            return [*parts, _Part(length, begin, end)]
        parts += [_Part(length, begin, first), _Part(length, last, end)]
        begin, end = first, last
    return [*parts, _Part(DAY_US, begin, end)]


def _read(
    tx: Tx, parts: Sequence[_Part], handler: Sequence[str], *, by_time: bool, by_handler: bool
) -> list[Sequence[Any]]:
    """Read the sums of the rows, and the figures that are not added up, in one statement: between two they might be.

    The database adds up the counts of a time, or of a handler, and puts the histograms one behind the other: to read
    each row would take most of the time. Raises TooMuch and Behind.
    """
    named = [named_like(history.c.handler, handler)] if handler else []
    selects = [
        sa.select(history).where(
            history.c.step == length // MINUTE_US, history.c.from_at >= begin, history.c.from_at < end, *named
        )
        for length, begin, end in parts
        if begin < end
    ]
    row = _first(selects, ROWS).c
    keys = [row.from_at] * by_time + [row.handler] * by_handler
    counts = (_sum(row[name]) for name in COUNTS)
    texts = (sa.func.aggregate_strings(one, "") for one in (row.waits, row.runs))
    at, of = row.from_at if by_time else 0, row.handler if by_handler else f"'{ALL}'"
    grouped = sa.select(*map(_named, range(12), (row.step, at, of, *counts, *texts, sa.func.count())))
    fresh = _constants(_FRESH, figures.c.at, "''", 0, 0, 0, 0, 0, 0, figures.c.data, "''", 0)
    return _checked(tx, grouped.group_by(row.step, *keys), fresh, ROWS)


def _read_failures(tx: Tx, span: Span, length: int, parts: int, handler: Sequence[str]) -> list[Any]:
    """Do the same for failures, a row for each error, which ends with its number in each part of that length."""
    named = [named_like(failures.c.handler, handler)] if handler else []
    few = sa.select(failures).where(failures.c.hour >= span.begin, failures.c.hour < span.end, *named)
    row = _first([few], SCANNED).c
    begins = [span.begin + part * length for part in range(parts)]
    within = [sa.case((row.hour.between(begin, begin + length - 1), row.n), else_=0) for begin in begins]
    n, *counts = map(_sum, (row.n, *within))
    columns = (row.handler, row.code, row.message, n, sa.func.min(row.first_at), sa.func.max(row.last_at))
    grouped = sa.select(*map(_named, range(parts + 8), (0, *columns, *counts, sa.func.count()))).group_by(
        row.handler, row.code, row.message
    )
    fresh = _constants(_FRESH, "''", "''", figures.c.data, 0, figures.c.at, 0, *[0] * parts, 0)
    return _checked(tx, grouped, fresh, SCANNED)


def _constants(*values: Any) -> Any:
    """Select columns of `figures` among constants."""
    return sa.select(*(_named(number, value) for number, value in enumerate(values)))


def _named(number: int, value: Any) -> Any:
    column: Any = sa.literal_column(str(value)) if isinstance(value, int | str) else value
    return column.label(f"c{number}")


def _sum(column: Any) -> Any:
    return sa.cast(sa.func.sum(column), sa.BigInteger)


def _first(selects: Sequence[Any], rows: int) -> Any:
    """Select so many rows of all the selects, and one more."""
    whole: Any = selects[0] if len(selects) == 1 else sa.union_all(*selects)
    return whole.limit(rows + 1).subquery()


def _checked(tx: Tx, grouped: Any, fresh: Any, most: int) -> list[Sequence[Any]]:
    """Return the groups, which end with the number of their rows, and the figures that are not added up, without it.

    Raises TooMuch and Behind.
    """
    both = [part.limit(ROWS + 1).subquery() for part in (grouped, fresh)]
    found = tx.execute_once(sa.union_all(*(sa.select(*part.c) for part in both)))
    kept = sum(row[0] == _FRESH for row in found)
    if (rows := sum(row[-1] for row in found)) > most or len(found) - kept > ROWS:
        most = most if rows > most else ROWS
        raise TooMuch(f"the answer takes more than {most} rows: name handlers, or ask for a shorter time")
    if kept > ROWS:
        raise Behind
    return [row[:-1] for row in found]


def _wanted(name: str, handler: Sequence[str]) -> bool:
    return not handler or any(matches(name, pattern) for pattern in handler)
