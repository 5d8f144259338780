"""Maintenance: no service delays another, and none reads a ledger that has not changed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from onward.backends.base import Role
from onward.config import settings
from onward.jobs import ledger
from onward.jobs.model import Job, Visible
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.maintenance.callers import CallersCounters
from onward.maintenance.history import History
from onward.maintenance.redelivery import BlockedJobs
from onward.maintenance.scheduler import DelayedJobs
from onward.runtime.wiring import Runtime, run_process
from onward.storage.base import Unavailable
from onward.storage.engine import Database
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from tests import application
from tests.ledgers import accept, writing

S = JobStatus
pytestmark = pytest.mark.anyio
OLD = 20_000
MONTH_US = 30 * 86_400_000_000
LATE_US = 1_000_000
PARAMS = {"email": "a@example.com", "message": "m"}
_end = sa.update(jobs).values(status="SUCCEEDED", finished_at=sa.bindparam("at"))
_started = sa.select(jobs.c.run_at, jobs.c.started_at).where(jobs.c.started_at.is_not(None))


@pytest.fixture
def project(tmp_path: Path, anyio_backend: str) -> settings.Settings:
    """A project with a day of retention and a job each second."""
    application.write(tmp_path)
    recurring = {"handler": "logging.write", "cron": "* * * * * *", "params": PARAMS}
    return settings.load(
        tmp_path, **application.tables({"retention": {"jobs_days": 1}, "schedule": {"often": recurring}})
    )


async def finish_many(parts: Runtime) -> None:
    """Put jobs into the ledger that ended a month ago."""
    new = parts.dispatcher.prepare("logging.write", PARAMS, owner=None)

    def put(tx: Tx) -> None:
        for _ in range(OLD):
            parts.dispatcher.accept(tx, new)
        tx.execute(_end, at=tx.now - MONTH_US)
        tx.count(None, JobStatus.QUEUED, -OLD)
        tx.count(None, JobStatus.SUCCEEDED, OLD)

    await parts.writer.run(put)


async def delayed(parts: Runtime, seconds: float) -> Job:
    new = parts.dispatcher.prepare("logging.write", PARAMS, owner=None)
    return await parts.writer.run(
        lambda tx: parts.dispatcher.accept(tx, replace(new, run_at=tx.now + round(seconds * 1_000_000)))
    )


@pytest.mark.slow
async def test_pruning_many_jobs_delays_neither_delayed_jobs_nor_ticks(project: settings.Settings) -> None:
    """While twenty thousand jobs are deleted, every job begins within a second of its time."""
    async with run_process(project, Role.RUN) as parts:
        await finish_many(parts)
    async with run_process(project, Role.ACCEPT, timings=Timings(clean_interval_s=0.1)) as parts:
        for n in range(12):
            await delayed(parts, 0.2 + 0.1 * n)
        await asyncio.sleep(2.0)
        left = (await parts.database.read(lambda tx: ledger.counts(tx, visible=Visible(everything=True))))[
            JobStatus.SUCCEEDED
        ]
        async with asyncio.timeout(20):
            while len(found := [row for row in await parts.database.read(lambda tx: tx.all(_started)) if row[0]]) < 13:
                await asyncio.sleep(0.05)
    assert left < OLD, "nothing was deleted meanwhile"
    late = {run_at: started_at - run_at for run_at, started_at in found}
    assert max(late.values()) < LATE_US, late


async def test_a_process_does_not_lead_while_its_event_loop_is_blocked(project: settings.Settings) -> None:
    timings = Timings(heartbeat_s=0.05, lease_timeout_s=0.5, tick_interval_s=0.05)
    async with run_process(project, Role.RUN, timings=timings) as parts, asyncio.timeout(60):
        started_at = parts.lease._loop_ran_at
        while parts.lease._loop_ran_at < started_at + timings.lease_timeout_s or not leads(parts):
            await asyncio.sleep(0.02)
        time.sleep(4 * timings.lease_timeout_s)  # noqa: ASYNC251 - the fault itself
        assert not leads(parts)
        while not leads(parts):
            await asyncio.sleep(0.02)


def leads(parts: Runtime) -> bool:
    return parts.lease.leads


@pytest.mark.parametrize("kind", [DelayedJobs, BlockedJobs])
async def test_a_ledger_that_has_not_changed_is_not_read(
    kind: type[DelayedJobs | BlockedJobs],
    tmp_path: Path,
    ledger_url: str,
    anyio_backend: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service reads after a commit, and not again before the next one."""
    application.write(tmp_path)
    project = settings.load(tmp_path, **application.tables({"database": {"url": ledger_url}}))
    timings = Timings(heartbeat_s=3600.0, recheck_s=3600.0, change_recheck_s=3600.0)
    reads, read = 0, Database.read

    async def counted(database: Database, fn: Any) -> Any:
        nonlocal reads
        reads += asyncio.current_task() is own
        return await read(database, fn)

    async def reads_now() -> bool:
        before = reads
        await service.run_once()
        return reads > before

    own = asyncio.current_task()
    async with run_process(project, Role.RUN, timings=timings) as parts, asyncio.timeout(60):
        service = kind(parts.writer, parts.dispatcher, timings)
        monkeypatch.setattr(Database, "read", counted)
        assert await reads_now()
        while await reads_now():  # other commits of the start, or a PostgreSQL that is not looked at yet
            await asyncio.sleep(0.02)
        await delayed(parts, 3600.0)
        while not await reads_now():
            await asyncio.sleep(0.02)
        service.stand_by()
        assert await reads_now()


async def test_a_job_of_a_quiet_ledger_is_queued_at_its_time(
    tmp_path: Path, ledger_url: str, anyio_backend: str
) -> None:
    """Time passes without a commit."""
    application.write(tmp_path)
    project = settings.load(tmp_path, **application.tables({"database": {"url": ledger_url}}))
    timings = Timings(heartbeat_s=3600.0, recheck_s=3600.0, change_recheck_s=3600.0)
    async with run_process(project, Role.RUN, timings=timings) as parts, asyncio.timeout(60):
        service = DelayedJobs(parts.writer, parts.dispatcher, timings)
        job_id = (await delayed(parts, 0.3)).id
        while (job := await parts.database.read(lambda tx: ledger.get(tx, job_id))) and job.status is not S.QUEUED:
            await asyncio.sleep(await service.run_once())


@pytest.mark.parametrize("kind", [CallersCounters, History])
async def test_what_a_commit_brings_is_read_again_after_a_failure(
    kind: type[CallersCounters | History], sqlite_ledger: str, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No later commit announces it."""
    timings, reads = Timings(recheck_s=3600.0, change_recheck_s=3600.0), 0

    async def fails(_function: Any) -> Any:
        nonlocal reads
        reads += 1
        raise Unavailable("the connection was lost")

    with writing(sqlite_ledger) as writer:
        service = History(writer, None, timings) if kind is History else CallersCounters(writer, timings)
        while service._revision.has_changed():
            await asyncio.sleep(0.01)
        await writer.run(accept)
        monkeypatch.setattr(writer.database, "read", fails)
        for _ in range(2):
            with pytest.raises(Unavailable):
                await service.run_once()
        assert reads == 2
        service._revision.has_changed()
        await service.run_once()
        assert reads == 2
