"""Schedules made at run time: each tick is one job, whoever leads and whatever is changed meanwhile."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from onward.dispatch import schedules as dispatch
from onward.dispatch.patterns import Routes
from onward.dispatch.preparation import Preparation
from onward.dispatch.schedules import Schedules, Shown
from onward.handlers.base import Handler, InvalidParameters, JobContext, Limit, Unique, handler
from onward.jobs import commands, ledger, schedule_rows, uniqueness
from onward.jobs.base import ScheduleRefused
from onward.jobs.encryption import Encryption
from onward.jobs.model import Job, Visible, to_datetime, to_us
from onward.jobs.schedule import MAX_ROWS, Made, Schedule
from onward.jobs.schedule_choices import ScheduleMissed, ScheduleOverlap
from onward.jobs.schedule_entry import Entry, upcoming
from onward.jobs.states import JobStatus
from onward.storage import migrate
from onward.storage.base import StorageError
from onward.storage.batches import FIRST_ROWS
from onward.storage.lock_order import ALONE
from onward.storage.tables import jobs, schedule
from onward.storage.tables import schedules as table
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry.tracing import Tracing
from tests.ledgers import new_job, writing

YEARLY = "0 0 1 1 *"  # so that no tick comes but by `put_off`
HOUR_US = 3_600_000_000
ALL = Visible(everything=True)


@handler("reports.daily")
async def daily(job: JobContext, *, team: str, pages: int = 1) -> None: ...


@handler("reports.secret", secret=frozenset({"password"}))
async def secret(job: JobContext, *, password: str) -> None: ...


@handler("reports.only", unique=Unique(by=("password",)), secret=frozenset({"password"}))
async def only(job: JobContext, *, password: str) -> None: ...


@handler("orders.import", limit=Limit(concurrency=1, by="customer"))
async def limited(job: JobContext, *, customer: str) -> None: ...


def renamed(version: int, params: dict[str, Any]) -> dict[str, Any]:
    return {"client": params["customer"]}


@handler("orders.import", limit=Limit(concurrency=1, by="client"), version=2, upgrade=renamed)
async def limited_later(job: JobContext, *, client: str) -> None: ...


@handler("orders.import", limit=Limit(concurrency=1, by="client"))
async def limited_otherwise(job: JobContext, *, client: str) -> None: ...


def preparation(*handlers: Handler, keys: tuple[str, ...] = ()) -> Preparation:
    named = {one.name: one for one in handlers}
    return Preparation(handlers=named, route=Routes("here", {}), encryption=Encryption(keys), tracing=Tracing())


def known(*entries: Entry) -> Schedules:
    return Schedules({entry.name: entry for entry in entries}, preparation(daily))


KNOWN = known()


def leader(schedules: Schedules = KNOWN) -> Schedule:
    accept = partial(uniqueness.accept, insert=ledger.accept)
    return Schedule(schedules.entries.values(), accept, schedules.restored)


def tick(writer: Writer, lead: Schedule) -> Made:
    async def whole() -> Made:
        found = Made()
        async for made in lead.tick(writer):
            found.jobs.extend(made.jobs)
            found.cancelled.extend(made.cancelled)
            found.problems.update(made.problems)
        return found

    return asyncio.run(whole())


def create(writer: Writer, name: str = "nightly", cron: str = YEARLY, **choices: Any) -> Shown:
    entry = KNOWN.entry(name, "reports.daily", {"team": name}, cron, **choices)
    return writer.run_sync(partial(KNOWN.create, entry=entry, by="root"), ALONE)


def put_off(writer: Writer, by_us: int = 0) -> None:
    """Set the next tick of all schedules that far into the past."""

    def move(tx: Tx) -> None:
        at = tx.now - by_us
        running = sa.case((table.c.paused_at.is_(None), at))
        tx.execute_once(sa.update(table).values(next_at=at, look_at=running).returning(table.c.name))
        tx.execute_once(sa.update(schedule).values(next_at=at).returning(schedule.c.name))

    writer.run_sync(move, ALONE)


def shown(writer: Writer, name: str = "nightly", schedules: Schedules = KNOWN) -> Shown:
    return writer.database.read_sync(partial(schedules.get, name=name))


def the_job(writer: Writer, job_id: str) -> Job:
    found = writer.database.read_sync(partial(ledger.get, job_id=job_id))
    assert found is not None
    return found


def made_of(writer: Writer) -> list[tuple[str, int]]:
    """Return the parameters and the tick of each job."""
    found = sa.select(jobs.c.params, jobs.c.run_at)
    return writer.database.read_sync(lambda tx: [tuple(row) for row in tx.execute_once(found)])


def test_a_tick_makes_one_job_with_the_parameters_of_its_schedule(writer: Writer) -> None:
    made = create(writer)
    assert (made.made_by, made.from_settings, made.last_job) == ("root", False, None)
    assert tick(writer, leader()).jobs == []
    put_off(writer)
    (job,) = tick(writer, leader()).jobs
    after = shown(writer)
    assert (job.handler, job.params, job.owner) == ("reports.daily", {"team": "nightly", "pages": 1}, None)
    assert (after.last_job, after.last_at) == (job.id, job.run_at)
    assert after.next_at is not None
    assert after.next_at > job.created_at


def test_one_of_many_simultaneous_schedulers_makes_each_job(ledger_url: str, writer: Writer) -> None:
    for n in range(25):
        create(writer, f"s{n}")
    put_off(writer, HOUR_US)

    def concurrent_tick(_: int) -> int:
        with writing(ledger_url) as own:
            return len(tick(own, leader()).jobs)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(concurrent_tick, range(4))) == 25
    assert len(set(made_of(writer))) == 25


def test_each_tick_is_one_job_whatever_is_changed_meanwhile(ledger_url: str, writer: Writer) -> None:
    """Two processes lead at once, and a third one pauses, resumes, deletes and makes the same schedules."""
    names = [f"s{n}" for n in range(5)]
    for name in names:
        create(writer, name)

    def change() -> None:
        chance = random.Random(7)
        with writing(ledger_url) as own:
            for _ in range(12):
                put_off(own)  # so that each round is a tick of its own
                name, gone = chance.choice(names), chance.choice(names)
                own.run_sync(partial(KNOWN.pause, name=name, by=None), ALONE)
                own.run_sync(partial(KNOWN.resume, name=name), ALONE)
                own.run_sync(partial(KNOWN.delete, name=gone), ALONE)
                create(own, gone)

    with ThreadPoolExecutor(3) as pool:
        changing = pool.submit(change)

        def lead(_: int) -> list[Job]:
            found: list[Job] = []
            with writing(ledger_url) as own:
                while not changing.done():
                    found += tick(own, leader()).jobs
            return found

        made = [job for found in pool.map(lead, range(2)) for job in found]
        changing.result()
    put_off(writer)
    made += tick(writer, leader()).jobs
    assert len(made) > len(names)
    assert len(set(made_of(writer))) == len(made_of(writer)) == len(made)
    for name in names:
        after = shown(writer, name)
        assert (the_job(writer, after.last_job or "").run_at, after.skipped_at) == (after.last_at, None)


def test_a_change_that_comes_first_wins_over_a_tick_that_was_read_before(writer: Writer) -> None:
    """A stale row of either kind takes no tick."""
    entry = Entry.checked("own", new_job(), YEARLY, "UTC")
    schedules = known(entry)
    create(writer)
    tick(writer, leader(schedules))
    put_off(writer, HOUR_US)
    stored = writer.database.read_sync(partial(schedule_rows.get, name="nightly"))
    own = writer.database.read_sync(schedule_rows.rows)["own"]
    assert stored is not None
    writer.run_sync(partial(schedules.pause, name="nightly", by=None), ALONE)
    writer.run_sync(partial(schedules.pause, name="own", by=None), ALONE)
    ticked = schedule_rows.Ticked(own.next_at + HOUR_US, None, None, None)
    assert not writer.run_sync(lambda tx: schedule_rows.tick_each(tx, [(stored, ticked)]), ALONE)
    assert not writer.run_sync(lambda tx: schedule_rows.tick_row(tx, own, ticked), ALONE)


@pytest.mark.parametrize("name", ["own", "nightly"])
def test_a_paused_schedule_makes_no_job_and_makes_up_for_none(writer: Writer, name: str) -> None:
    schedules = known(Entry.checked("own", new_job(), YEARLY, "UTC")) if name == "own" else KNOWN
    if name != "own":
        create(writer)
    paused = writer.run_sync(partial(schedules.pause, name=name, by="ada"), ALONE)
    assert (paused.paused_by, paused.next_at, paused.upcoming) == ("ada", None, ())
    assert writer.run_sync(partial(schedules.pause, name=name, by="bob"), ALONE) == paused
    put_off(writer, HOUR_US)
    assert tick(writer, leader(schedules)).jobs == []
    resumed = writer.run_sync(partial(schedules.resume, name=name), ALONE)
    assert (resumed.paused_at, resumed.paused_by) == (None, None)
    assert resumed.next_at is not None
    assert tick(writer, leader(schedules)).jobs == []
    put_off(writer)
    assert len(tick(writer, leader(schedules)).jobs) == 1


def overlapping(writer: Writer, overlap: ScheduleOverlap, name: str) -> tuple[Schedules, Job]:
    """Return the schedules, and the job of a tick of the one with that name."""
    schedules = known(Entry.checked("own", new_job(), YEARLY, "UTC", overlap=overlap))
    if name != "own":
        create(writer, name, overlap=overlap)
    tick(writer, leader(schedules))
    put_off(writer, 2_000_000)
    made = tick(writer, leader(schedules)).jobs
    last = shown(writer, name, schedules).last_job
    return schedules, next(job for job in made if job.id == last)


@pytest.mark.parametrize("name", ["own", "nightly"])
def test_a_tick_is_skipped_while_the_last_job_is_not_over(writer: Writer, name: str) -> None:
    schedules, first = overlapping(writer, ScheduleOverlap.SKIP, name)
    put_off(writer)
    assert tick(writer, leader(schedules)).jobs == []
    after = shown(writer, name, schedules)
    assert after.last_job == first.id
    assert (after.skipped_at or 0) > (after.last_at or 0)
    for job_id in {job for job in (first.id, shown(writer, "own", schedules).last_job) if job}:
        writer.run_sync(partial(commands.cancel, job_id=job_id, reason=None, visible=ALL), ALONE)
    put_off(writer)
    assert shown(writer, name, schedules).last_job == first.id
    assert [job.id for job in tick(writer, leader(schedules)).jobs if job.handler == first.handler]
    assert shown(writer, name, schedules).last_job != first.id


@pytest.mark.parametrize("running", [False, True])
def test_the_last_job_is_cancelled_with_the_acceptance_of_the_next(writer: Writer, *, running: bool) -> None:
    schedules, first = overlapping(writer, ScheduleOverlap.CANCEL_LAST, "own")
    if running:
        held = {"status": JobStatus.RUNNING.value, "runner": "runner_x"}
        claim = sa.update(jobs).where(jobs.c.id == first.id).values(held).returning(jobs.c.id)
        writer.run_sync(lambda tx: tx.execute_once(claim), ALONE)
    put_off(writer)
    made = tick(writer, leader(schedules))
    (second,) = made.jobs
    cancelled = the_job(writer, first.id)
    assert cancelled.status is (JobStatus.CANCELLING if running else JobStatus.CANCELLED)
    assert cancelled.changed == second.changed  # one commit
    assert cancelled.reason == "the next tick of its schedule came"
    assert [job.id for job in made.cancelled] == ([] if running else [first.id])


@pytest.mark.parametrize(("missed", "count"), [(ScheduleMissed.RUN_ONCE, 1), (ScheduleMissed.SKIP, 0)])
def test_missed_ticks_are_one_job_or_none(writer: Writer, missed: ScheduleMissed, count: int) -> None:
    now = writer.run_sync(lambda tx: tx.now)
    create(writer, cron=f"{(now // 60_000_000 + 30) % 60} * * * *", missed=missed)
    put_off(writer, 9 * HOUR_US)
    assert len(tick(writer, leader()).jobs) == count
    assert tick(writer, leader()).jobs == []
    assert (shown(writer).next_at or 0) > now


def test_the_next_times_follow_the_clocks_of_the_time_zone() -> None:
    """On the last Sunday of March 2026 there is no half past two in Berlin."""
    first = to_us(datetime(2026, 3, 28, 1, 30, tzinfo=UTC))
    found = [to_datetime(at).isoformat()[:16] for at in upcoming("30 2 * * *", "Europe/Berlin", first, 3)]
    assert found == ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]


def test_a_process_without_the_handler_leaves_the_tick_to_one_that_has_it(writer: Writer) -> None:
    """The reason is shown, and the other schedules' ticks do not wait."""
    create(writer)
    other = Schedules({}, preparation(secret, keys=(Fernet.generate_key().decode(),)))
    entry = other.entry("second", "reports.secret", {"password": "in the clear"}, YEARLY)
    writer.run_sync(partial(other.create, entry=entry, by=None), ALONE)
    put_off(writer)
    made = tick(writer, leader(other))
    assert [job.handler for job in made.jobs] == ["reports.secret"]
    assert made.problems == {"nightly": "no handler is named 'reports.daily'"}
    assert shown(writer).problem == "no handler is named 'reports.daily'"
    assert shown(writer, schedules=other).problem == "no handler is named 'reports.daily'"
    assert tick(writer, leader(other)).problems == {}  # not before half a minute is over
    put_off(writer)
    (job,) = tick(writer, leader()).jobs
    assert (job.handler, shown(writer).problem) == ("reports.daily", None)


def test_secret_parameters_are_encrypted_in_the_schedule(writer: Writer) -> None:
    schedules = Schedules({}, preparation(secret, keys=(Fernet.generate_key().decode(),)))
    entry = schedules.entry("rotate", "reports.secret", {"password": "in the clear"}, YEARLY)
    writer.run_sync(partial(schedules.create, entry=entry, by=None), ALONE)
    row = writer.database.read_sync(partial(schedule_rows.get, name="rotate"))
    assert row is not None
    assert "in the clear" not in row.params


@pytest.mark.parametrize("overlap", [ScheduleOverlap.ALLOW, ScheduleOverlap.CANCEL_LAST])
def test_a_tick_of_a_unique_handler_is_the_job_that_is_there(writer: Writer, overlap: ScheduleOverlap) -> None:
    """A job that the tick cancels is none."""
    schedules = Schedules({}, preparation(only, keys=(Fernet.generate_key().decode(),)))
    for name in ("first", "second"):
        entry = schedules.entry(name, "reports.only", {"password": "x" * 9}, YEARLY, overlap=overlap)
        writer.run_sync(partial(schedules.create, entry=entry, by=None), ALONE)
    put_off(writer)
    (job,) = tick(writer, leader(schedules)).jobs
    assert [shown(writer, name, schedules).last_job for name in ("first", "second")] == [job.id] * 2
    put_off(writer)
    made = tick(writer, leader(schedules))
    assert len(made.jobs) == (0 if overlap is ScheduleOverlap.ALLOW else 1)
    last = {shown(writer, name, schedules).last_job for name in ("first", "second")}
    assert last == {job.id if overlap is ScheduleOverlap.ALLOW else made.jobs[0].id}


def test_a_running_unique_job_is_not_cancelled_by_a_tick_that_can_make_none(writer: Writer) -> None:
    """The job holds its key until it has ended, so that none would take its place."""
    schedules = Schedules({}, preparation(only, keys=(Fernet.generate_key().decode(),)))
    cancels = ScheduleOverlap.CANCEL_LAST
    entry = schedules.entry("nightly", "reports.only", {"password": "x" * 9}, YEARLY, overlap=cancels)
    writer.run_sync(partial(schedules.create, entry=entry, by=None), ALONE)
    put_off(writer)
    (job,) = tick(writer, leader(schedules)).jobs
    held = {"status": JobStatus.RUNNING.value, "runner": "runner_x"}
    claim = sa.update(jobs).where(jobs.c.id == job.id).values(held).returning(jobs.c.id)
    writer.run_sync(lambda tx: tx.execute_once(claim), ALONE)
    put_off(writer)
    assert tick(writer, leader(schedules)).jobs == []
    assert the_job(writer, job.id).status is JobStatus.RUNNING
    assert shown(writer, "nightly", schedules).last_job == job.id


def of_one_handler(writer: Writer, its: Handler, params: dict[str, Any]) -> None:
    """Create the schedule "nightly" of the handler, in a process that has a key."""
    schedules = Schedules({}, preparation(its, keys=(Fernet.generate_key().decode(),)))
    entry = schedules.entry("nightly", its.name, params, YEARLY)
    writer.run_sync(partial(schedules.create, entry=entry, by=None), ALONE)


@pytest.mark.parametrize("its", [limited, limited_later])
def test_a_schedule_whose_handler_has_a_limit_by_a_parameter_makes_jobs_with_its_key(
    writer: Writer, its: Handler
) -> None:
    """A new version of the handler may name the parameter otherwise."""
    of_one_handler(writer, limited, {"customer": "acme"})
    schedules = Schedules({}, preparation(its))
    put_off(writer)
    (job,) = tick(writer, leader(schedules)).jobs
    assert (job.limit_key, job.params) == ("orders.import:acme", {"customer": "acme"})
    _, new = writer.run_sync(partial(schedules.new_job, name="nightly"), ALONE)
    assert new.limit_key == "orders.import:acme"


@pytest.mark.parametrize(
    ("made_of", "params", "its", "words"),
    [
        (limited, {"customer": "acme"}, limited_otherwise, "do not fit this version of orders.import"),
        (limited_otherwise, {"client": "acme"}, limited_later, "do not fit this version of orders.import"),
        (only, {"password": "x" * 9}, only, "the key of its secret parameters is not among those"),
    ],
    ids=["other names", "upgrade fails", "no key"],
)
def test_a_schedule_whose_parameters_cannot_be_read_is_in_conflict(
    writer: Writer, made_of: Handler, params: dict[str, Any], its: Handler, words: str
) -> None:
    of_one_handler(writer, made_of, params)
    schedules = Schedules({}, preparation(its))
    put_off(writer)
    problem = tick(writer, leader(schedules)).problems["nightly"]
    assert words in problem
    writer.run_sync(partial(schedules.pause, name="nightly", by=None), ALONE)
    for change in (schedules.new_job, schedules.resume):
        refused = refusal(writer, change, name="nightly")
        assert refused == ("CONFLICT", ("name",), f"This process cannot use the schedule: {problem}.")


def refusal(writer: Writer, change: Any, **given: Any) -> tuple[str, tuple[str, ...], str]:
    with pytest.raises(ScheduleRefused) as refused:
        writer.run_sync(partial(change, **given), ALONE)
    return refused.value.code, refused.value.path, str(refused.value)


def test_a_name_belongs_to_one_schedule(writer: Writer) -> None:
    schedules = known(Entry.checked("nightly", new_job(), YEARLY, "UTC"))
    entry = schedules.entry("nightly", "reports.daily", {"team": "a"}, YEARLY)
    code, path, words = refusal(writer, schedules.create, entry=entry, by=None)
    assert (code, path) == ("ALREADY_EXISTS", ("name",))
    assert "[schedule.nightly] in settings.toml" in words
    tick(writer, leader(schedules))  # which writes the row of the settings' one, for processes without it
    assert refusal(writer, KNOWN.create, entry=entry, by=None)[0] == "ALREADY_EXISTS"
    create(writer, "weekly")
    code, path, _ = refusal(
        writer, KNOWN.create, entry=KNOWN.entry("weekly", "reports.daily", {"team": "a"}, "0 7 * * *"), by=None
    )
    assert (code, path) == ("ALREADY_EXISTS", ("name",))
    assert shown(writer, "weekly").cron == YEARLY


def test_a_schedule_of_the_settings_cannot_be_deleted(writer: Writer) -> None:
    schedules = known(Entry.checked("nightly", new_job(), YEARLY, "UTC"))
    code, path, words = refusal(writer, schedules.delete, name="nightly")
    assert (code, path) == ("NOT_ALLOWED", ("name",))
    assert "[schedule.nightly] in settings.toml" in words


def test_a_schedule_whose_name_the_settings_take_later_waits_and_can_be_deleted(writer: Writer) -> None:
    create(writer)
    schedules = known(Entry.checked("nightly", new_job(), YEARLY, "UTC"))
    tick(writer, leader(schedules))
    put_off(writer)
    made = tick(writer, leader(schedules))
    assert [job.handler for job in made.jobs] == ["conformance.job"]
    assert "the settings have a schedule nightly" in made.problems["nightly"]
    assert "delete it" in (shown(writer, schedules=schedules).problem or "")
    assert writer.run_sync(partial(schedules.delete, name="nightly"), ALONE).from_settings is False
    assert shown(writer, schedules=schedules).problem is None


def test_a_run_leaves_the_ticks_as_they_are(writer: Writer) -> None:
    before = create(writer)
    found, new = writer.run_sync(partial(KNOWN.new_job, name="nightly"), ALONE)
    assert (found, shown(writer)) == (before, before)
    assert (new.handler, new.run_at, new.id) == ("reports.daily", None, None)


@pytest.mark.parametrize("name", ["none", "\x00", ""])
def test_what_is_not_there_is_said_to_be_missing(writer: Writer, name: str) -> None:
    for change in (partial(KNOWN.pause, by=None), KNOWN.resume, KNOWN.delete, KNOWN.new_job):
        assert refusal(writer, change, name=name)[:2] == ("NOT_FOUND", ("name",))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"handler": "reports.none"}, "handler"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": "1," * 5_000_000}, "cron"),
        ({"time_zone": "Mars/Olympus"}, "timeZone"),
        ({"time_zone": "../" * 5_000_000}, "timeZone"),
        ({"time_zone": "\x00"}, "timeZone"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(changes: dict[str, Any], path: str) -> None:
    given = {"name": "nightly", "handler": "reports.daily", "params": {"team": "a"}, "cron": YEARLY, **changes}
    with pytest.raises(ScheduleRefused) as refused:
        KNOWN.entry(**given)
    assert (refused.value.code, refused.value.path) == ("INVALID", (path,))
    assert len(str(refused.value)) < 500


def test_parameters_are_checked_when_the_schedule_is_made() -> None:
    with pytest.raises(InvalidParameters) as refused:
        KNOWN.entry("nightly", "reports.daily", {"team": "a", "pages": "many"}, YEARLY)
    assert [path for path, _ in refused.value.errors] == ["pages"]


def test_a_ledger_with_schedules_does_not_go_back_to_a_release_without(writer: Writer) -> None:
    create(writer)
    with pytest.raises(StorageError, match="onward schedules delete"):
        migrate.go_back(writer.database)
    writer.run_sync(partial(KNOWN.delete, name="nightly"), ALONE)
    assert migrate.go_back(writer.database)


def test_there_is_a_limit_of_schedules(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MAX_SCHEDULES", 2)
    create(writer, "a")
    create(writer, "b")
    entry = KNOWN.entry("c", "reports.daily", {"team": "c"}, YEARLY)
    assert refusal(writer, KNOWN.create, entry=entry, by=None)[:2] == ("RATE_LIMITED", ())


def test_pages_hold_both_kinds_by_name(writer: Writer) -> None:
    schedules = known(*(Entry.checked(name, new_job(), YEARLY, "UTC") for name in ("B", "d")))
    for name in ("a", "c", "é"):
        create(writer, name)
    found = writer.database.read_sync(partial(schedules.page, first=10))
    assert [(one.name, one.from_settings) for one in found] == [
        ("B", True),
        ("a", False),
        ("c", False),
        ("d", True),
        ("é", False),
    ]
    for first in (1, 2, 3):
        names, after = [], ""
        while page := writer.database.read_sync(partial(schedules.page, first=first, after=after)):
            names += [one.name for one in page]
            after = page[-1].name
        assert names == ["B", "a", "c", "d", "é"]


def test_a_commit_records_a_bounded_number_of_ticks(writer: Writer) -> None:
    entries = [KNOWN.entry(f"s{n:03}", "reports.daily", {"team": "a"}, YEARLY) for n in range(620)]
    writer.run_sync(lambda tx: [schedule_rows.insert(tx, entry, None) for entry in entries], ALONE)
    put_off(writer)

    async def look() -> list[int]:
        return [made.looked_at async for made in leader().tick(writer)]

    found = asyncio.run(look())
    assert sum(found) == 620
    assert max(found) <= MAX_ROWS
    assert found[1] <= FIRST_ROWS, "nothing is known of how long they take"


@pytest.mark.parametrize("overlap", [*ScheduleOverlap])
def test_the_ticks_of_a_commit_take_as_many_statements_for_many_as_for_few(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, overlap: ScheduleOverlap
) -> None:
    """10,000 schedules that are due in the same second wait for each other's statements."""
    counted = 0

    def counts(method: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal counted
            counted += 1
            return method(*args, **kwargs)

        return wrapped

    def statements(lead: Schedule) -> int:
        nonlocal counted
        put_off(writer)
        with monkeypatch.context() as patch:
            for name in ("execute", "insert_many", "update_each"):
                patch.setattr(writer.database.driver, name, counts(getattr(writer.database.driver, name)))
            counted = 0
            made = writer.run_sync(partial(lead._make_stored, limit=100), ALONE)
        assert made.looked_at == len(made.jobs) or overlap is ScheduleOverlap.SKIP
        return counted

    found: dict[int, int] = {}
    for total in (2, 50):
        for n in range(len(found) and 2, total):
            create(writer, f"s{n:03}", overlap=overlap)
        lead = leader()
        writer.run_sync(lead._make_own, ALONE)
        statements(lead)  # so that each has a last job
        writer.run_sync(
            lambda tx: tx.execute_once(sa.update(jobs).values(status="SUCCEEDED").returning(jobs.c.id)), ALONE
        )
        found[total] = statements(lead)
    assert found[50] == found[2]


def test_a_schedule_of_the_settings_does_not_wait_for_a_long_line_of_others(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Entry.checked("own", new_job(), YEARLY, "UTC")
    lead = leader(known(own))
    for n in range(120):
        create(writer, f"s{n:03}")
    tick(writer, lead)
    monkeypatch.setattr("onward.jobs.schedule.OWN_S", 0.0)

    async def order() -> list[int]:
        """Make the settings' schedule due once the others have begun; return the jobs of each commit that made some."""
        late = sa.update(schedule).values(next_at=1_000_000).returning(schedule.c.name)
        found = []
        async for made in lead.tick(writer):
            found.append(sum(job.handler == own.new.handler for job in made.jobs))
            if len(found) == 2:
                await writer.run(lambda tx: tx.execute_once(late), ALONE)
        return found

    put_off(writer)
    found = asyncio.run(order())
    assert sum(found) == 2, "its first tick, and the one that came meanwhile"
    assert found[2] == 1, "before the next commit of the others"
