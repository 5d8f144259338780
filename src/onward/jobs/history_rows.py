"""The rows of the history: the figures of the commits added up by minute, hour and day, and deleted in time.

A figure is added to its minute, its hour and its day at once, so that each of them always says the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from onward.jobs import sketch
from onward.jobs.history import CANCELLED, ENQUEUED, FAILED, KIND, NO_TIME, RETRIED, STARTED, SUCCEEDED
from onward.jobs.sketch import Sketch
from onward.jobs.stats_step import HOUR_US, KEPT_US, LENGTH_US, MINUTE_US
from onward.storage.sql import as_list, in_array
from onward.storage.tables import failures, figures, history
from onward.storage.transaction import Tx

GROUPS = 50  # of errors, by code and message, in an hour of a handler; further ones are one more
OTHERS = ("OTHER", "further errors of this hour")
LOCK = "history"
COUNTS = ("enqueued", "started", "succeeded", "failed", "cancelled", "retried")
_COUNTED = (ENQUEUED, STARTED, SUCCEEDED, FAILED, CANCELLED, RETRIED)  # in the same order
_p = sa.bindparam
_any = sa.select(sa.literal(1)).select_from(figures).limit(1)
_oldest_at = sa.select(figures.c.at).order_by(figures.c.id).limit(1)
_oldest = sa.select(figures.c.id).order_by(figures.c.id).limit(_p("limit_", type_=sa.Integer))
_take = sa.delete(figures).where(figures.c.id.in_(_oldest)).returning(figures.c.at, figures.c.data)
_there = sa.select(history).where(
    history.c.step == _p("step"), history.c.from_at == _p("from_"), in_array(history.c.handler, "handlers")
)
_put = sa.text(
    "INSERT INTO _ledger.history (step, from_at, handler, enqueued, started, succeeded, failed, cancelled, retried,"
    " waits, runs) VALUES (:step, :from_at, :handler, :enqueued, :started, :succeeded, :failed, :cancelled, :retried,"
    " :waits, :runs) ON CONFLICT (step, from_at, handler) DO UPDATE SET enqueued = excluded.enqueued,"
    " started = excluded.started, succeeded = excluded.succeeded, failed = excluded.failed,"
    " cancelled = excluded.cancelled, retried = excluded.retried, waits = excluded.waits, runs = excluded.runs"
)
_groups = sa.select(failures.c.code, failures.c.message).where(
    failures.c.hour == _p("hour"), failures.c.handler == _p("handler")
)
_add_failures = sa.text(
    "INSERT INTO _ledger.failures AS failures (hour, handler, code, message, n, first_at, last_at) VALUES"
    " (:hour, :handler, :code, :message, :n, :first_at, :last_at) ON CONFLICT (hour, handler, code, message)"
    " DO UPDATE SET n = failures.n + excluded.n,"
    " first_at = CASE WHEN excluded.first_at < failures.first_at THEN excluded.first_at ELSE failures.first_at END,"
    " last_at = CASE WHEN excluded.last_at > failures.last_at THEN excluded.last_at ELSE failures.last_at END"
)
_old_key = (history.c.step, history.c.from_at, history.c.handler)
_old = (
    sa.select(*_old_key)
    .where(history.c.step == _p("step"), history.c.from_at < _p("before"))
    .limit(_p("limit_", type_=sa.Integer))
)
_prune = sa.delete(history).where(sa.tuple_(*_old_key).in_(_old))
_group_key = (failures.c.hour, failures.c.handler, failures.c.code, failures.c.message)
_old_groups = sa.select(*_group_key).where(failures.c.hour < _p("before")).limit(_p("limit_", type_=sa.Integer))
_prune_groups = sa.delete(failures).where(sa.tuple_(*_group_key).in_(_old_groups))


@dataclass(slots=True)
class Sums:
    """The figures of a handler in some time."""

    counts: list[int] = field(default_factory=lambda: [0] * len(_COUNTED))
    """In the order of `COUNTS`."""
    waits: Sketch = field(default_factory=dict)
    runs: Sketch = field(default_factory=dict)

    def count(self, figure: int, n: int) -> None:
        """Add a figure of `onward.jobs.history`."""
        kind, bucket = figure // KIND, figure % KIND
        if kind < len(_COUNTED):
            self.counts[kind] += n
        if kind * KIND == STARTED:
            self.waits[bucket] = self.waits.get(bucket, 0) + n
        elif kind * KIND != ENQUEUED and bucket != NO_TIME:
            self.runs[bucket] = self.runs.get(bucket, 0) + n

    def add(self, counts: Iterable[int], waits: str, runs: str, *, kept: bool = False) -> None:
        """Add a row, or several; `kept` if the same are asked for again and again."""
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        sketch.merge_encoded(self.waits, waits, kept=kept)
        sketch.merge_encoded(self.runs, runs, kept=kept)

    def merge(self, other: Sums) -> None:
        """Add what was done in another time."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        sketch.merge(self.waits, other.waits)
        sketch.merge(self.runs, other.runs)


@dataclass(slots=True)
class Group:
    """Failed jobs with the same error."""

    n: int
    first_at: int
    last_at: int

    def add(self, n: int, first_at: int, last_at: int) -> None:
        self.n, self.first_at, self.last_at = self.n + n, min(self.first_at, first_at), max(self.last_at, last_at)


@dataclass(slots=True)
class Added:
    """Figures of commits, added up by the minute, and errors by the hour."""

    groups: dict[tuple[int, str, str, str], Group] = field(default_factory=dict)
    _figures: dict[tuple[int, str, int], int] = field(default_factory=dict)  # by the minute, the handler and the figure

    def add(self, at: int, data: str) -> None:
        """Add the figures of a commit."""
        minute, figures = at - at % MINUTE_US, self._figures
        for handler, *figure in orjson.loads(data):
            if len(figure) == 2:  # noqa: PLR2004 - a figure, and how many
                key = minute, handler, figure[0]
                figures[key] = figures.get(key, 0) + figure[1]
            else:
                code, message, n = figure
                self.groups.setdefault((at - at % HOUR_US, handler, code, message), Group(0, at, at)).add(n, at, at)

    def sums(self) -> dict[tuple[int, str], Sums]:
        """Return what each handler did in each minute."""
        found: dict[tuple[int, str], Sums] = {}
        for (minute, handler, figure), n in self._figures.items():
            found.setdefault((minute, handler), Sums()).count(figure, n)
        return found


def any_figures(tx: Tx) -> bool:
    """Return whether any commit has left figures that are not added up."""
    return tx.one(_any) is not None


def age_us(tx: Tx) -> int:
    """Return the age of the oldest figures that are not added up, in microseconds; 0 without any."""
    at = tx.scalar(_oldest_at)
    return 0 if at is None else max(tx.now - at, 0)


def add_up(tx: Tx, limit: int) -> int:
    """Add up the figures of the oldest `limit` commits; return how many there were."""
    tx.lock_keys([LOCK])  # of two processes that lead for a moment, one reads after the other has written
    taken = tx.all(_take, limit_=limit)
    added = Added()
    for at, data in taken:
        added.add(at, data)
    by_minute = added.sums()
    for length in LENGTH_US.values():
        by_begin: dict[int, dict[str, Sums]] = {}
        for (minute, handler), sums in by_minute.items():
            by_begin.setdefault(minute - minute % length, {}).setdefault(handler, Sums()).merge(sums)
        for begin in sorted(by_begin):
            _write(tx, length // MINUTE_US, begin, by_begin[begin])
    _write_groups(tx, added.groups)
    return len(taken)


def prune(tx: Tx, limit: int, *, failures_us: int) -> int:
    """Delete rows past their time, and failures that are older than `failures_us`; return how many, at most `limit`."""
    gone = 0
    for step, length in LENGTH_US.items():
        before = tx.now - KEPT_US[step] - HOUR_US  # so that no reader finds the first of them half gone
        gone += tx.execute(_prune, step=length // MINUTE_US, before=before, limit_=limit - gone)
    return gone + tx.execute(_prune_groups, before=tx.now - failures_us - HOUR_US, limit_=limit - gone)


def _write(tx: Tx, step: int, begin: int, by_handler: dict[str, Sums]) -> None:
    for _, _, handler, *counts, waits, runs in tx.all(
        _there, step=step, from_=begin, handlers=as_list(list(by_handler))
    ):
        by_handler[handler].add(counts, waits, runs)
    for handler in sorted(by_handler):
        sums = by_handler[handler]
        row: dict[str, Any] = {"step": step, "from_at": begin, "handler": handler}
        row |= dict(zip(COUNTS, sums.counts, strict=True))
        tx.insert(_put, row | {"waits": sketch.encode(sums.waits), "runs": sketch.encode(sums.runs)})


def _write_groups(tx: Tx, groups: dict[tuple[int, str, str, str], Group]) -> None:
    there: dict[tuple[int, str], set[tuple[str, str]]] = {}
    found: dict[tuple[int, str, str, str], Group] = {}
    for hour, handler in {key[:2] for key in groups}:
        there[hour, handler] = set(map(tuple, tx.all(_groups, hour=hour, handler=handler)))
    for (hour, handler, *error), group in sorted(groups.items(), key=lambda item: item[1].first_at):
        known = there[hour, handler]
        which = (error[0], error[1])
        if which not in known and len(known) >= GROUPS:
            which = OTHERS
        known.add(which)
        found.setdefault((hour, handler, *which), Group(0, group.first_at, group.last_at)).add(
            group.n, group.first_at, group.last_at
        )
    for hour, handler, code, message in sorted(found):
        group = found[hour, handler, code, message]
        row = {"hour": hour, "handler": handler, "code": code, "message": message}
        tx.insert(_add_failures, row | {"n": group.n, "first_at": group.first_at, "last_at": group.last_at})
