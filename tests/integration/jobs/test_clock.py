"""The ledger's clock is set far ahead, by mistake, and set right again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
import sqlalchemy as sa

from onward.jobs import ledger, schedule_rows
from onward.jobs.model import Job
from onward.jobs.schedule import Schedule
from onward.jobs.schedule_entry import Entry
from onward.jobs.timings import Timings
from onward.maintenance import ledger_clock
from onward.maintenance.cleaner import Cleaner, Retention
from onward.maintenance.history import History
from onward.maintenance.ledger_clock import AHEAD_S, DISTRUST_S, LedgerClock
from onward.maintenance.scheduler import RecurringJobs
from onward.storage.lock_order import ALONE
from onward.storage.tables import jobs, schedule
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept, new_job

pytestmark = pytest.mark.anyio
DAY_S = 86_400.0
AT_ONCE = Timings(recheck_s=0.0, change_recheck_s=0.0, clean_interval_s=0.0)
HOURLY, EVER = "0 * * * *", "* * * * * *"
_end = sa.update(jobs).values(status="SUCCEEDED", finished_at=sa.bindparam("at"))
_count = sa.select(sa.func.count()).select_from(jobs)

SetAhead = Callable[[float], None]


@pytest.fixture
def set_ahead(monkeypatch: pytest.MonkeyPatch) -> SetAhead:
    """A function that sets the ledger's clock so many seconds ahead of the right time."""
    right, ahead_us = cast("property", vars(Tx)["now"]), 0

    def found(tx: Tx) -> int:
        return int(right.__get__(tx)) + ahead_us

    def set_(seconds: float) -> None:
        nonlocal ahead_us
        ahead_us = round(seconds * 1_000_000)

    monkeypatch.setattr(Tx, "now", property(found))
    return set_


class Machine:
    """The machine's clocks since its start, set by the test; the monotonic one stands still while it sleeps."""

    now = 1_000.0
    slept_s = 0.0

    CLOCK_MONOTONIC, CLOCK_BOOTTIME = 1, 7

    def clock_gettime(self, clock: int) -> float:
        return self.now - (self.slept_s if clock == self.CLOCK_MONOTONIC else 0.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(ledger_clock, "time", made)
    return made


def test_a_clock_was_set_by_what_the_monotonic_one_does_not_explain(clock: Machine) -> None:
    seen = LedgerClock()
    found = []
    for now_s, monotonic in ((5_000, 100.0), (5_060, 160.0), (8_660, 160.0), (5_070, 170.0)):
        clock.now = monotonic
        found.append(seen.moved_s(now_s * 1_000_000))
    assert found == [0.0, 0.0, 3_600.0, -3_600.0]


async def test_a_machine_that_slept_has_set_no_clock(writer: Writer, set_ahead: SetAhead, clock: Machine) -> None:
    """The monotonic clock of Linux stands still meanwhile."""
    seen = LedgerClock()
    assert await seen.is_trusted(writer.database)
    clock.now += 3 * AHEAD_S
    clock.slept_s = 3 * AHEAD_S
    set_ahead(3 * AHEAD_S)
    assert await seen.is_trusted(writer.database)


async def test_old_jobs_are_kept_for_an_hour_after_the_clock_was_set_ahead(
    writer: Writer, set_ahead: SetAhead, clock: Machine
) -> None:
    """Old jobs are deleted sooner if the clock is set right."""

    def end(tx: Tx) -> Job:
        job = accept(tx)
        tx.execute(_end, at=tx.now)
        return job

    async def left(cleaner: Cleaner) -> int | None:
        await cleaner.run_once()
        return await writer.database.read(lambda tx: tx.scalar(_count))

    await writer.run(end)
    cleaner = Cleaner(writer, Retention(timedelta(days=2), None), AT_ONCE)
    assert await left(cleaner) == 1
    set_ahead(3 * DAY_S)
    assert [await left(cleaner) for _ in range(2)] == [1, 1]
    set_ahead(0.0)
    assert await left(cleaner) == 1
    await writer.run(lambda tx: tx.execute(_end, at=tx.now - round(2.5 * DAY_S * 1_000_000)))
    assert await left(cleaner) == 0
    await writer.run(end)
    set_ahead(3 * DAY_S)
    assert await left(cleaner) == 1
    clock.now += DISTRUST_S
    set_ahead(3 * DAY_S + DISTRUST_S)
    assert await left(cleaner) == 0


async def test_a_clock_that_is_a_little_ahead_delays_nothing(
    writer: Writer, set_ahead: SetAhead, clock: Machine
) -> None:
    seen = LedgerClock()
    for seconds in (0.0, AHEAD_S - 60.0):
        set_ahead(seconds)
        assert await seen.is_trusted(writer.database)


async def test_the_history_is_kept_as_well(
    writer: Writer, set_ahead: SetAhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned: list[bool] = []

    def noted(_tx: Tx, _limit: int, **_given: Any) -> int:
        pruned.append(True)
        return 0

    monkeypatch.setattr("onward.jobs.history_rows.prune", noted)
    service = History(writer, None, AT_ONCE)
    await service.run_once()
    set_ahead(3 * DAY_S)
    await service.run_once()
    assert pruned == [True]


class NoDispatcher:
    """Counts and delivers nothing."""

    def count(self, *_: object) -> None: ...
    def count_ended(self, *_: object) -> None: ...
    def defer(self, *_: object) -> None: ...
    async def deliver(self, *_: object, **_named: object) -> None: ...


async def test_schedules_of_both_kinds_tick_at_their_times_after_the_clock_was_set_right(
    writer: Writer, set_ahead: SetAhead
) -> None:
    """The next ticks were recorded by the wrong clock, far ahead; no tick makes a job too soon."""
    entry = Entry.checked("sums", new_job(), HOURLY, "UTC")
    stored = entry._replace(name="stored")
    made = Schedule([entry], ledger.accept, lambda _row: stored)
    service = RecurringJobs(writer, cast("Any", NoDispatcher()), made, AT_ONCE)
    set_ahead(300 * DAY_S)
    await writer.run(partial(schedule_rows.insert, entry=stored, by="root"), ALONE)
    await service.run_once()
    set_ahead(0.0)
    await service.run_once()
    now = await writer.database.read(lambda tx: tx.now)
    own = await writer.database.read(lambda tx: schedule_rows.rows(tx)["sums"])
    other = await writer.database.read(lambda tx: schedule_rows.get(tx, "stored"))
    assert other is not None
    assert {own.next_at, other.next_at} <= {entry.next(now - 60_000_000), entry.next(now)}  # an hour may have ended
    assert await writer.database.read(lambda tx: tx.scalar(_count)) == 0


async def test_a_new_leader_sets_right_what_a_wrong_clock_has_recorded(writer: Writer) -> None:
    """A clock that was ahead by less than a minute makes its schedules wait for as long."""
    entry = Entry.checked("sums", new_job(), EVER, "UTC")
    move = sa.update(schedule).values(next_at=sa.bindparam("at"))

    async def next_after(ahead_s: int) -> int:
        lead = Schedule([entry], ledger.accept, cast("Any", None))
        async for _ in lead.tick(writer):
            pass
        lead.forget()
        now = await writer.database.read(lambda tx: tx.now)
        await writer.run(lambda tx: tx.execute(move, at=now + ahead_s * 1_000_000))
        async for found in lead.tick(writer):
            assert found.jobs == []
        row = await writer.database.read(lambda tx: schedule_rows.rows(tx)["sums"])
        return round((row.next_at - now) / 1_000_000)

    assert await next_after(30) == 30
    assert await next_after(3_600) < 60
