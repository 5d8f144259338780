"""The job that a failure brings, in each place where a job becomes FAILED."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from onward.handlers.base import Handler, JobContext, Permanent, Retry, handler, wait_for
from onward.jobs import claims, commands, ledger, recording, recovery, refused, waits
from onward.jobs.model import EVERYTHING, Job
from onward.jobs.outcome import MAX_INTERNAL_ERRORS, MESSAGE_CHARACTERS, Outcome
from onward.jobs.states import JobStatus
from onward.storage.tables import jobs, runners
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import OLDER, accept, new_job, route
from tests.runners import Enqueuer, Node, node

S = JobStatus
pytestmark = pytest.mark.anyio
UNSTORABLE = "conformance.unstorable"
_crash = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(deaths=sa.bindparam("crashes_"))
_enter = sa.insert(runners)
_due = sa.update(jobs).where(jobs.c.status == "RETRYING").values(status="QUEUED", due_at=1)


@handler("test.fails", retry=Retry(1))
async def fails(_job: JobContext, *, words: str = "no") -> None:
    raise Permanent(words, code="NEVER")


@pytest.fixture
async def here(writer: Writer) -> AsyncIterator[Node]:
    async with node(writer, fails) as made:
        yield made


async def failed(here: Node, on_failure: str, made: Handler = fails, **given: Any) -> Job:
    job = await here.accept(made, given=given, on_failure=on_failure)
    await here.start(job)
    return await here.get(job)


async def notice(here: Node) -> Job | None:
    return await here.writer.database.read(lambda tx: ledger.get(tx, "job_notice"))


async def test_a_failed_attempt_brings_the_job_at_once(here: Node) -> None:
    """The job is delivered like the jobs of a step that has succeeded."""
    job = await failed(here, "test.notified")
    found = await notice(here)
    assert found is not None
    assert (found.handler, [*found.params.values()], found.created_at) == (
        "test.notified",
        [job.id, "test.fails", "NEVER", "no"],
        job.finished_at,
    )
    assert here.enqueuer.dispatched == ["job_notice"]


async def test_a_refused_job_is_in_the_message_and_in_the_log(here: Node) -> None:
    """The message stays within its bound."""
    with capture_logs() as logs:
        job = await failed(here, "conformance.refused", words="x" * 3_000)
    assert job.error is not None
    assert job.status is S.FAILED
    assert len(job.error.message) == MESSAGE_CHARACTERS
    assert job.error.message.startswith("xxx")
    assert job.error.message.endswith("x (no job of conformance.refused was made: message: is too long)")
    assert [line["log_level"] for line in logs if "on_failure was refused" in line["event"]] == ["error"]
    assert here.enqueuer.dispatched == []


async def test_a_job_that_the_ledger_refuses_has_failed_and_the_failure_is_written(here: Node) -> None:
    with capture_logs() as logs:
        job = await failed(here, UNSTORABLE)
    assert job.error is not None
    assert (job.status, job.error.code) == (S.FAILED, "NEVER")
    assert not_accepted(await notice(here)).params["job_id"] == job.id
    assert [line["job"] for line in logs if line["log_level"] == "error"] == ["job_notice"]
    again = await here.writer.run(
        partial(commands.retry, job_id="job_notice", from_start=False, visible=EVERYTHING, route=route)
    )
    assert again.status is S.QUEUED


async def test_a_refused_job_of_a_failure_is_one_failure(writer: Writer) -> None:
    """The failure of the second job brings no third one."""

    def both(tx: Tx) -> None:
        new = replace(new_job(on_failure=UNSTORABLE), priority=None)  # type: ignore[arg-type]
        job = refused.accept(tx, new, insert=ledger.accept, enqueuer=Enqueuer())
        assert not_accepted(job) == job

    await writer.run(both)
    assert not_accepted(await writer.database.read(lambda tx: ledger.get(tx, "job_notice"))).finished_at is not None
    assert await writer.database.read(lambda tx: ledger.counts(tx, visible=EVERYTHING)[S.FAILED]) == 2
    assert await writer.database.read(lambda tx: ledger.counts(tx, visible=EVERYTHING)[S.QUEUED]) == 0


async def test_a_refused_job_is_not_in_the_log_unless_it_is_in_the_ledger(writer: Writer) -> None:
    """The error of its transaction has undone it."""

    def undone(tx: Tx) -> None:
        new = replace(new_job(), priority=None)  # type: ignore[arg-type]
        assert not_accepted(refused.accept(tx, new, insert=ledger.accept, enqueuer=Enqueuer())).id
        raise LookupError

    with capture_logs() as logs, pytest.raises(LookupError):
        await writer.run(undone)
    assert logs == []


def not_accepted(job: Job | None) -> Job:
    assert job is not None
    assert job.error is not None
    assert (job.status, job.error.code) == (S.FAILED, "NOT_ACCEPTED")
    return job


async def test_a_handler_that_is_gone_brings_the_job(here: Node) -> None:
    """The row names the handler of on_failure."""
    gone = replace(fails, name="test.gone")
    job = await failed(here, "test.notified", gone)
    found = await notice(here)
    assert job.error is not None
    assert job.error.code == "HANDLER_MISSING"
    assert found is not None
    assert [*found.params.values()] == [job.id, "test.gone", "HANDLER_MISSING", job.error.message]


async def test_the_last_of_many_errors_of_ours_brings_the_job(here: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempts before are retried, and bring none."""

    async def broken(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(here.runner._executor, "execute", broken)
    job = await here.accept(fails, on_failure="test.notified")
    for _ in range(MAX_INTERNAL_ERRORS):
        assert await notice(here) is None
        await here.writer.run(lambda tx: tx.execute(_due))
        await here.start(job)
    assert (await here.get(job)).status is S.FAILED
    found = await notice(here)
    assert found is not None
    assert found.params["code"] == "INTERNAL"
    assert here.enqueuer.dispatched == ["job_notice"]


def crashed(writer: Writer, crashes: int, on_failure: str = "test.notified") -> Job:
    """Return a job whose runner, named one, is about to be found dead; it has had so many crashes before."""

    def make(tx: Tx) -> Job:
        tx.execute(_enter, id="one", beat=1, place="", name="h", started_at=tx.now, **OLDER)
        job = accept(tx, on_failure=on_failure)
        tx.execute(_crash, id_=job.id, crashes_=crashes)
        claimed = claims.claim(tx, job.id, runner="one", worker="w", backend="here", isolated=True)
        assert claimed is not None
        return claimed

    return writer.run_sync(make)


@pytest.mark.parametrize("isolated", [True, False])
def test_poison_brings_the_job(writer: Writer, isolated: bool) -> None:  # noqa: FBT001 - a parameter
    """Exactly once, though several observe the death."""
    job = crashed(writer, 2 if isolated else claims.MAX_CRASHES)
    for _ in range(2):
        if isolated:
            writer.run_sync(lambda tx: recovery.reclaim_isolated(tx, runner="one", enqueuer=Enqueuer()))
        else:
            writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="one", beat=1, enqueuer=Enqueuer()))
    found = writer.run_sync(lambda tx: ledger.get_many(tx, [job.id, "job_notice"]))
    poisoned, brought = found[job.id], found["job_notice"]
    assert poisoned.error is not None
    assert (poisoned.status, poisoned.error.code) == (S.FAILED, "POISON")
    assert ([*brought.params.values()][:3], brought.created_at) == (
        [job.id, job.handler, "POISON"],
        poisoned.finished_at,
    )


def test_the_jobs_of_a_dead_runner_are_free_though_the_ledger_refuses_the_job_of_a_failure(writer: Writer) -> None:
    job = crashed(writer, claims.MAX_CRASHES, UNSTORABLE)
    writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="one", beat=1, enqueuer=Enqueuer()))
    found = writer.run_sync(lambda tx: ledger.get_many(tx, [job.id, "job_notice"]))
    assert found[job.id].status is S.FAILED
    assert not_accepted(found["job_notice"]).params["job_id"] == job.id


def test_waits_end_though_the_ledger_refuses_the_job_of_a_failure(writer: Writer) -> None:
    def wait(tx: Tx) -> Job:
        job = accept(tx, steps=("approval", "later"), on_failure=UNSTORABLE)
        claimed = claims.claim(tx, job.id, runner="one", worker="w", backend="here", isolated=False)
        assert claimed is not None
        outcome = Outcome(S.WAITING, wait=wait_for("approval", str, timeout=timedelta(seconds=1)))
        recording.record_outcome(tx, claimed, outcome, steps=claimed.steps)
        tx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(due_at=1))
        return job

    job = writer.run_sync(wait)
    writer.run_sync(lambda tx: waits.end_due(tx, 10, enqueuer=Enqueuer()))
    found = writer.run_sync(lambda tx: ledger.get_many(tx, [job.id, "job_notice"]))
    assert found[job.id].status is S.FAILED
    assert not_accepted(found["job_notice"]).params["code"] == "WAIT_TIMEOUT"


def test_a_crash_that_is_not_the_last_brings_none(writer: Writer) -> None:
    job = crashed(writer, 0)
    writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="one", beat=1, enqueuer=Enqueuer()))
    found = writer.run_sync(lambda tx: ledger.get_many(tx, [job.id, "job_notice"]))
    assert {job_id: one.status for job_id, one in found.items()} == {job.id: S.QUEUED}
