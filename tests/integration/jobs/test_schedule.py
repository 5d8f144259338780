"""Recurring jobs: each tick is one job, in any number of processes, and however late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from onward.backends.base import Role
from onward.config.settings import SettingsError, load
from onward.jobs import ledger, schedule_rows
from onward.jobs.model import Job, to_us
from onward.jobs.schedule import Made, Schedule
from onward.jobs.schedule_choices import ScheduleMissed
from onward.jobs.schedule_entry import Entry
from onward.jobs.schedule_rows import Row, Stored
from onward.jobs.states import JobStatus
from onward.runtime.wiring import run_process
from onward.storage.tables import jobs
from onward.storage.tables import schedule as table
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests import application
from tests.ledgers import new_job, writing

HOURLY, EVER = "0 * * * *", "* * * * * *"
HOUR_US = 3_600_000_000


def entry(cron: str = HOURLY, timezone: str = "UTC", name: str = "sums", *, catch_up: bool = True) -> Entry:
    missed = ScheduleMissed.RUN_ONCE if catch_up else ScheduleMissed.SKIP
    return Entry.checked(name, new_job(), cron, timezone, missed=missed)


def none_stored(row: Stored) -> Entry:
    raise AssertionError(f"{row.name} was not made at run time")


def made_by(*entries: Entry) -> Schedule:
    return Schedule(entries, ledger.accept, none_stored)


def tick(writer: Writer, plan: Schedule) -> list[Job]:
    async def jobs() -> list[Job]:
        return [job async for made in plan.tick(writer) for job in made.jobs]

    return asyncio.run(jobs())


def row_of(writer: Writer) -> Row:
    (row,) = writer.database.read_sync(schedule_rows.rows).values()
    return row


def put_off(writer: Writer, by_us: int) -> None:
    """Set the ledger's next tick that far into the past."""
    writer.run_sync(lambda tx: tx.execute_once(_moved(tx.now - by_us)))


def _moved(at: int) -> sa.Update:
    return sa.update(table).values(next_at=at).returning(table.c.name)


def local(text: str) -> int:
    return to_us(datetime.fromisoformat(text))


@pytest.mark.parametrize(
    ("after", "then"),
    [
        ("2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00"),  # 2:30 is skipped that night: as soon as it is over
        ("2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00"),  # 2:30 comes twice: the first is meant
        ("2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"),
        ("2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"),  # in the second pass of the hour
        ("2026-07-01T00:00:00+00:00", "2026-07-01T02:30:00+02:00"),
    ],
)
def test_a_tick_follows_the_clocks_of_its_time_zone(after: str, then: str) -> None:
    assert entry("30 2 * * *", "Europe/Berlin").next(local(after)) == local(then)
    assert entry("0 30 2 * * *", "Europe/Berlin").next(local(after)) == local(then)


ZONES = {  # with a moment at which their clocks change
    "Europe/Berlin": ("2026-03-29T01:00:00+00:00", "2026-10-25T01:00:00+00:00"),
    "America/New_York": ("2026-03-08T07:00:00+00:00", "2026-11-01T06:00:00+00:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00:00+00:00", "2026-10-03T15:30:00+00:00"),
    "Asia/Kathmandu": ("2026-03-29T01:00:00+00:00",),
    "UTC": ("2026-10-25T01:00:00+00:00",),
}
RULES = ("30 2 * * *", "50 1,2 * * *", "0-59 2 * * *", "* 2 * * *", "0 */2 * * *", "*/7 * * * *", "0 30 2 * * *")
SECONDS = ("*/20 50 1-3 * * *", "59 59 1 * * *", EVER)


@pytest.mark.parametrize("cron", RULES + SECONDS)
@pytest.mark.parametrize("zone", ZONES)
def test_the_next_tick_is_later_and_the_newest_is_not_while_clocks_change(zone: str, cron: str) -> None:
    its = entry(cron, zone)
    for change in map(local, ZONES[zone]):
        for second in (*range(-10_800, 10_801, 617), -3600, -1, 0, 1, 3600):
            at = change + second * 1_000_000
            then = its.next(at)
            assert its.newest(at) <= at < then
            assert its.newest(then) == then


def test_a_tick_in_the_repeated_hour_makes_one_job(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick of 2:50 is found in the second pass of the hour, and again five minutes later."""
    plan = made_by(entry("50 2 * * *", "Europe/Berlin"))
    tick(writer, plan)
    writer.run_sync(lambda tx: tx.execute_once(_moved(local("2026-10-25T02:50:00+02:00"))))
    now = local("2026-10-25T02:05:00+01:00")
    monkeypatch.setattr(Tx, "now", property(lambda _tx: now))
    [job] = tick(writer, plan)
    assert job.run_at == local("2026-10-25T02:50:00+02:00")
    assert row_of(writer).next_at == local("2026-10-26T02:50:00+01:00")
    now += 300_000_000
    assert tick(writer, plan) == []


@pytest.mark.parametrize("past_us", [0, 1, 999_999, 59_000_000])
def test_the_newest_tick_is_the_one_at_or_before_a_moment(past_us: int) -> None:
    at = local("2026-11-24T10:00:00+00:00")
    assert entry().newest(at + past_us) == at
    assert entry(EVER).newest(at + past_us) == at + past_us - past_us % 1_000_000


def test_nothing_is_made_before_its_time(writer: Writer) -> None:
    assert tick(writer, made_by(entry())) == []
    row = row_of(writer)
    assert row.next_at == entry().next(writer.run_sync(lambda tx: tx.now))


def test_a_tick_makes_one_job_and_the_next_is_known(writer: Writer) -> None:
    plan = made_by(entry(EVER))
    tick(writer, plan)
    put_off(writer, 0)
    [job] = tick(writer, plan)
    row = row_of(writer)
    assert (row.last_at, row.last_job) == (job.run_at, job.id)
    assert row.next_at > job.created_at


def test_one_of_many_simultaneous_schedulers_makes_the_job(ledger_url: str, writer: Writer) -> None:
    plans = [made_by(entry()) for _ in range(4)]
    tick(writer, plans[0])
    put_off(writer, HOUR_US)

    def concurrent_tick(plan: Schedule) -> int:
        with writing(ledger_url) as own:
            return len(tick(own, plan))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(concurrent_tick, plans)) == 1


@pytest.mark.parametrize(("catch_up", "count"), [(True, 1), (False, 0)])
def test_missed_ticks_are_one_job_or_none(writer: Writer, catch_up: bool, count: int) -> None:  # noqa: FBT001
    now = writer.run_sync(lambda tx: tx.now)
    half_past = entry(f"{(now // 60_000_000 + 30) % 60} * * * *", catch_up=catch_up)
    plan = made_by(half_past)
    tick(writer, plan)
    put_off(writer, 9 * HOUR_US)
    made = tick(writer, plan)
    assert [job.run_at for job in made] == [half_past.newest(now)] * count
    assert tick(writer, plan) == []


def test_skip_still_makes_the_tick_that_is_not_missed(writer: Writer) -> None:
    plan = made_by(entry(EVER, catch_up=False))
    tick(writer, plan)
    put_off(writer, 5_000_000)
    assert len(tick(writer, plan)) == 1


def test_a_changed_rule_applies_from_now_on_and_a_removed_entry_is_deleted(writer: Writer) -> None:
    tick(writer, made_by(entry(HOURLY), entry(HOURLY, name="gone")))
    put_off(writer, HOUR_US)
    assert tick(writer, made_by(entry("0 7 * * *"))) == []
    row = row_of(writer)
    assert (row.name, row.rule) == ("sums", "0 7 * * * UTC")
    assert row.next_at > writer.run_sync(lambda tx: tx.now)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    application.write(tmp_path)
    return tmp_path


def recurring(**changes: object) -> dict[str, object]:
    return {"handler": "steps.process_item", "cron": EVER, "params": {"item": "tick"}, **changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cron": "61 * * * *"}, "schedule.sums.cron: '61 * * * *' is no cron expression (Bad minute)"),
        ({"cron": "often"}, "schedule.sums.cron: 'often' is no cron expression"),
        ({"timezone": "Mars/Olympus"}, "schedule.sums.timezone: 'Mars/Olympus' is no time zone"),
        ({"timezone": "../../etc/passwd"}, "is no time zone"),
        ({"timezone": "localtime"}, "'localtime' is no time zone"),
        ({"timezone": ""}, "'' is no time zone"),
        ({"cron": "1," * 200}, "schedule.sums.cron: it must have at most 200 characters (got 400)"),
        ({"handler": "none"}, "schedule.sums: no handler is named 'none'"),
        ({"params": {"items": "x"}}, "schedule.sums: item"),
    ],
)
async def test_an_invalid_schedule_entry_stops_the_start_with_one_line(
    project: Path, changes: dict[str, object], words: str
) -> None:
    settings = load(project, schedule={"sums": recurring(**changes)})
    with pytest.raises(SettingsError) as refused:
        async with run_process(settings, Role.ACCEPT):
            pass
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_however_many_processes_run_each_tick_is_one_job(project: Path) -> None:
    """Three processes take part; each second has one job, which has run."""
    settings = load(project, schedule={"sums": recurring()})
    made = sa.select(jobs.c.run_at, jobs.c.status).where(jobs.c.handler == "steps.process_item")

    def read(tx: Tx) -> list[tuple[int, str]]:
        return [tuple(row) for row in tx.all(made)]

    async with AsyncExitStack() as stack:
        parts = [await stack.enter_async_context(run_process(settings, Role.ACCEPT)) for _ in range(3)]
        async with asyncio.timeout(30):
            while sum(status == "SUCCEEDED" for _, status in await parts[0].database.read(read)) < 3:
                await asyncio.sleep(0.05)
        found = await parts[0].database.read(read)
    ticks = [at for at, _ in found]
    assert len(set(ticks)) == len(ticks)
    assert all(at % 1_000_000 == 0 for at in ticks)
    assert all(datetime.fromtimestamp(at / 1_000_000, UTC) <= datetime.now(UTC) for at in ticks)


async def test_a_schedule_that_fails_delays_no_other_job(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tick(_self: Schedule, _writer: Writer) -> AsyncIterator[Made]:
        for wrong in (RuntimeError("a defect"),):
            raise wrong
        yield Made()

    monkeypatch.setattr(Schedule, "tick", tick)
    async with run_process(load(project), Role.ACCEPT) as parts:
        soon = parts.dispatcher.prepare("logging.write", {"email": "a@example.com", "message": "m"}, owner=None)

        def later(tx: Tx) -> Job:
            return parts.dispatcher.accept(tx, replace(soon, run_at=tx.now + 100_000))

        job = await parts.writer.run(later)
        async with asyncio.timeout(20):
            while not (found := await parts.database.read(lambda tx: ledger.get(tx, job.id))) or not found.done:
                await asyncio.sleep(0.02)
    assert found.status is JobStatus.SUCCEEDED
