"""A stop of a process whose isolated job runs in a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from onward.backends.base import Role
from onward.config.settings import load
from onward.handlers.base import JobContext, Retry, handler
from onward.jobs import claims, ledger
from onward.jobs.model import Job
from onward.jobs.states import JobStatus
from onward.runtime import wiring
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.testing.waiting import until
from onward.testing.workload import note, notes

S = JobStatus
CRASHED = sa.update(jobs).values(deaths=claims.CRASHES_BEFORE_ISOLATION)


@handler("tests.blocked", retry=Retry(max_attempts=1))
async def blocked(job: JobContext, *, folder: str) -> None:
    """Block the event loop, so that the process learns of no signal."""
    note(job, folder, "started")
    time.sleep(300)  # noqa: ASYNC251 - as above


@asynccontextmanager
async def isolated(folder: Path, named: str, *, drain_s: float) -> AsyncIterator[tuple[Any, Job]]:
    """A process, and a job that has begun in a process of its own."""
    (folder / "settings.toml").write_text(
        f'[server]\ndrain_s = {drain_s}\n[handlers]\nmodules = ["onward.testing.workload", "{__name__}"]\n'
    )
    async with wiring.run_process(load(folder), Role.ACCEPT) as onward:
        new = onward.dispatcher.prepare(named, {"folder": str(folder)}, owner=None)

        def dangerous(tx: Tx) -> Job:
            job = ledger.accept(tx, new)
            tx.execute(CRASHED)
            return job

        job = await onward.writer.run(dangerous)
        onward.dispatcher.wake()
        await until(lambda: bool(notes(folder)))
        yield onward, job


async def now(onward: wiring.Runtime, job: Job) -> Job:
    found = await onward.database.read(lambda tx: ledger.get(tx, job.id))
    assert found is not None
    return found


@pytest.mark.anyio
async def test_a_drain_waits_for_the_process_of_an_isolated_job(tmp_path: Path) -> None:
    """The process ended after the server did, and the job with it."""
    async with isolated(tmp_path, "conformance.wait", drain_s=60) as (onward, job):
        assert onward.runner.busy == 0
        draining = asyncio.ensure_future(onward.drain())
        await until(lambda: onward.runner.draining)
        (tmp_path / "go").touch()
        await draining
        found = await now(onward, job)
    assert (found.status, found.attempts[-1].worker != onward.lease.name) == (S.SUCCEEDED, True)
    ended = {"handler": "conformance.wait", "status": "SUCCEEDED"}
    assert onward.telemetry.metrics.registry.get_sample_value("onward_jobs_finished_total", ended) == 1


@pytest.mark.anyio
async def test_a_process_of_an_isolated_job_that_does_not_stop_is_killed_and_the_job_is_not_charged(
    tmp_path: Path,
) -> None:
    """A third crash would make it POISON."""
    async with isolated(tmp_path, "tests.blocked", drain_s=0.5) as (onward, job):
        await onward.drain()
        found = await now(onward, job)
    assert (found.status, found.crash_count) == (S.QUEUED, claims.CRASHES_BEFORE_ISOLATION)
    error = found.attempts[-1].error
    assert error is not None
    assert error.code == "HANDED_BACK"
