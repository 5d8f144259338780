"""Recurring jobs: one for each tick, in any number of processes, by a compare-and-set on the tick."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from cronsim import CronSim, CronSimError

from onward.jobs.model import Job, NewJob, to_datetime, to_us
from onward.storage.lock_order import ALONE
from onward.storage.tables import schedule as _schedule
from onward.storage.transaction import Tx
from onward.storage.writer import Writer

MISSED_AFTER_US = 60_000_000  # a tick found this late was missed: no process led, or the ledger was away
CHECK_INTERVAL_S = 30.0  # at the latest, since the ledger's clock may be set in between

_p = sa.bindparam
_all = sa.select(_schedule).order_by(_schedule.c.name)
_insert = sa.insert(_schedule)
_delete = sa.delete(_schedule).where(_schedule.c.name == _p("name_"))
_set_rule = (
    sa.update(_schedule)
    .where(_schedule.c.name == _p("name_"), _schedule.c.rule == _p("old"))
    .values(rule=_p("rule_"), next_at=_p("next_"))
)
_take = (
    sa.update(_schedule)
    .where(_schedule.c.name == _p("name_"), _schedule.c.next_at == _p("tick_"))
    .values(next_at=_p("next_"))
)
_set_last = sa.update(_schedule).where(_schedule.c.name == _p("name_")).values(last_at=_p("tick_"), last_job=_p("job_"))


class BadRule(ValueError):
    """An invalid rule; `key` is the setting that is wrong."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


Accept = Callable[[Tx, NewJob], Job]


@dataclass(frozen=True, slots=True)
class Entry:
    """A recurring job, and its cron expression in a time zone."""

    name: str
    new: NewJob
    cron: str
    zone: ZoneInfo
    catch_up: bool = True  # after missed ticks one job is made; otherwise none

    @classmethod
    def checked(cls, name: str, new: NewJob, cron: str, timezone: str, *, catch_up: bool) -> Entry:
        """Validate an entry. Raises BadRule."""
        try:
            zone = ZoneInfo(timezone)
        except (KeyError, ValueError, OSError) as error:
            raise BadRule("timezone", f"{timezone!r} is no time zone; use a name such as Europe/Berlin") from error
        entry = cls(name, new, cron, zone, catch_up)
        try:
            entry.next(0)
        except CronSimError as error:
            raise BadRule(
                "cron", f"{cron!r} is no cron expression ({error}); write one such as 30 7 * * MON-FRI"
            ) from error
        except StopIteration as error:
            raise BadRule("cron", f"{cron!r} matches no time; write one such as 30 7 * * MON-FRI") from error
        return entry

    @property
    def rule(self) -> str:
        return f"{self.cron} {self.zone.key}"

    def next(self, after: int) -> int:
        """Return the first tick after a time; both in microseconds."""
        return to_us(next(CronSim(self.cron, self._local(after))))

    def newest(self, now: int) -> int:
        """Return the last tick that is not after a time; both in microseconds."""
        # Backwards, CronSim gives times strictly before a whole second.
        return to_us(next(CronSim(self.cron, self._local(now - now % 1_000_000 + 1_000_000), reverse=True)))

    def _local(self, at: int) -> datetime:
        return to_datetime(at).astimezone(self.zone)


@dataclass(frozen=True, slots=True)
class Row:
    """An entry's row; times in microseconds."""

    name: str
    rule: str
    next_at: int
    last_at: int | None
    last_job: str | None


class Schedule:
    """Makes the jobs of all entries, in the process that leads."""

    def __init__(self, entries: Iterable[Entry], accept: Accept) -> None:
        self.entries = {entry.name: entry for entry in entries}
        self._accept = accept
        self._check_at = 0.0
        self._known = False

    async def tick(self, writer: Writer) -> list[Job]:
        """Accept a job for each tick that has come, and return the jobs. Raises Unavailable."""
        if time.monotonic() < self._check_at:
            return []
        wait_us, due = await writer.database.read(self._due)
        jobs: list[Job] = []
        if due or not self._known:
            wait_us, jobs = await writer.run(self._make, ALONE)
            self._known = True
        self._check_at = time.monotonic() + (
            CHECK_INTERVAL_S if wait_us is None else min(CHECK_INTERVAL_S, max(wait_us, 0) / 1_000_000)
        )
        return jobs

    @property
    def wait_s(self) -> float:
        """Return the seconds until the next check."""
        return max(self._check_at - time.monotonic(), 0.0)

    def forget(self) -> None:
        """Compare the rows with the entries again, because another process may have led with other settings."""
        self._check_at, self._known = 0.0, False

    def _due(self, tx: Tx) -> tuple[int | None, bool]:
        wait_us = _until_next(tx, rows(tx))
        return wait_us, wait_us is not None and wait_us <= 0

    def _make(self, tx: Tx) -> tuple[int | None, list[Job]]:
        present = {row.name: row for row in rows(tx)}
        for name in present.keys() - self.entries.keys():
            tx.execute(_delete, name_=name)
        jobs = []
        for entry in self.entries.values():
            row = present.get(entry.name)
            if row is None:
                row = Row(entry.name, entry.rule, entry.next(tx.now), None, None)
                tx.execute(_insert, name=row.name, rule=row.rule, next_at=row.next_at, last_at=None, last_job=None)
            elif row.rule != entry.rule:
                tx.execute(_set_rule, name_=row.name, old=row.rule, rule_=entry.rule, next_=entry.next(tx.now))
            elif row.next_at <= tx.now:
                jobs += self._take(tx, entry, row)
        return _until_next(tx, rows(tx)), jobs

    def _take(self, tx: Tx, entry: Entry, row: Row) -> list[Job]:
        if not tx.execute(_take, name_=row.name, tick_=row.next_at, next_=entry.next(tx.now)):
            return []
        tick = max(entry.newest(tx.now), row.next_at)
        if tx.now - tick > MISSED_AFTER_US and not entry.catch_up:
            return []
        job = self._accept(tx, replace(entry.new, run_at=tick))
        tx.execute(_set_last, name_=row.name, tick_=tick, job_=job.id)
        return [job]


def rows(tx: Tx) -> list[Row]:
    """Return the rows of all entries, by name."""
    return [Row(*row) for row in tx.all(_all)]


def _until_next(tx: Tx, present: Iterable[Row]) -> int | None:
    soonest = min((row.next_at for row in present), default=None)
    return None if soonest is None else soonest - tx.now
