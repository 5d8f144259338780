"""Orphaned jobs, of runners that will not run them, are found and queued again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa

from onward.jobs import claims, due, ledger, recording, recovery
from onward.jobs.dispatched import Expander
from onward.jobs.leases import Lease
from onward.jobs.model import Job, JobError
from onward.jobs.outcome import Outcome
from onward.jobs.position import Snapshot
from onward.jobs.row import Claim
from onward.jobs.runner import Runner, build_runner
from onward.jobs.running import Running, StopReason
from onward.jobs.states import JobStatus, StepStatus
from onward.jobs.timings import Timings
from onward.maintenance.recovery import Recovery
from onward.storage.base import Unavailable
from onward.storage.batches import in_batches
from onward.storage.lock_order import LockOrder
from onward.storage.tables import runners
from onward.storage.transaction import Tx
from onward.storage.writer import Grouped, Writer
from onward.telemetry.metrics import Metrics
from onward.telemetry.tracing import Tracing
from onward.telemetry.watchdog import Watchdog
from tests.ledgers import OLDER, accept, locked, new_job, route, writing
from tests.runners import NOTHING

S = JobStatus
pytestmark = pytest.mark.anyio
_enter = sa.insert(runners)


def claim(writer: Writer, name: str) -> Job:
    job = writer.run_sync(accept)
    found = writer.run_sync(
        lambda tx: claims.claim(tx, job.id, runner=name, worker="w", backend="here", isolated=False)
    )
    assert found is not None
    return found


def now(writer: Writer, job: Job) -> Job:
    found = writer.run_sync(lambda tx: ledger.get(tx, job.id))
    assert found is not None
    return found


def test_jobs_that_a_reclaimed_runner_claimed_or_accepted_later_wait_again(writer: Writer) -> None:
    """The runner will not be reclaimed a second time."""
    writer.run_sync(lambda tx: tx.execute(_enter, id="alive", beat=1, place="", name="a", started_at=tx.now, **OLDER))
    theirs, held = claim(writer, "alive"), claim(writer, "reclaimed")
    expected = writer.run_sync(lambda tx: ledger.accept(tx, new_job(), local_runner="reclaimed"))
    kept = writer.run_sync(lambda tx: ledger.accept(tx, new_job(), local_runner="alive"))
    delivered = writer.run_sync(
        lambda tx: ledger.accept(tx, new_job(backend="elsewhere"), local_runner="run-id/sentinel")
    )
    destinations, since = writer.database.read_sync(lambda tx: due.destinations(tx, since=None))
    runners = {runner for backend, _, runner in destinations if runner is not None and backend == "here"}
    assert runners == {"reclaimed", "alive"}
    assert writer.run_sync(lambda tx: recovery.orphaned_runners(tx, assigned=runners)) == ["reclaimed"]
    assert writer.run_sync(lambda tx: recovery.release_orphan(tx, runner="reclaimed")) == 2
    after = now(writer, held)
    assert (after.status, after.counted_attempts, after.crash_count) == (S.QUEUED, 0, 0)
    assert now(writer, expected).delivered_to is None
    assert now(writer, theirs).status is S.RUNNING
    assert [now(writer, job).delivered_to for job in (kept, delivered)] == ["alive", "run-id/sentinel"]
    assert writer.run_sync(lambda tx: recovery.orphaned_runners(tx, assigned={"alive"})) == []
    changed, _ = writer.database.read_sync(lambda tx: due.destinations(tx, since=since))
    assert ("here", "conformance.job", None) in changed
    assert len(changed) == 1, "only what changed since the last look is looked at"


async def test_many_orphans_are_freed_a_part_in_each_commit(writer: Writer) -> None:
    """A runner may hold jobs, and have jobs that were accepted for it."""
    count = recovery.ROWS + 1
    await writer.run(lambda tx: [accept(tx) for _ in range(count)])
    await writer.run(lambda tx: claims.claim_due(tx, runner="gone", worker="w", backend="here", limit=count))
    await writer.run(lambda tx: [ledger.accept(tx, new_job(), local_runner="gone") for _ in range(count)])
    assert await writer.run(lambda tx: recovery.release_orphan(tx, runner="gone")) == 2 * recovery.ROWS
    assert await in_batches(writer, partial(recovery.release_orphan, runner="gone"), most=recovery.ROWS) == 2
    assert await writer.run(lambda tx: recovery.orphaned_runners(tx, assigned=())) == []


@pytest.mark.parametrize("led_before", [True, False])
async def test_a_job_accepted_for_a_process_that_died_is_claimed_though_its_row_was_locked_meanwhile(
    postgres_ledger: str, *, led_before: bool
) -> None:
    """The dead process was about to claim it, and is forgotten before its transaction is rolled back."""
    here = SimpleNamespace(backends={"here": SimpleNamespace(runs_elsewhere=False)}, route=lambda *_: "here")
    with writing(postgres_ledger) as writer:
        service = Recovery(writer, cast("Any", here), Timings())
        writer.run_sync(lambda tx: tx.execute(_enter, id="dead", beat=1, place="", name="", started_at=tx.now, **OLDER))
        job = writer.run_sync(lambda tx: ledger.accept(tx, new_job(), local_runner="dead"))
        if led_before:
            await service.run_once()
        with locked(writer, job):
            writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="dead", beat=1))
            assert not writer.run_sync(lambda tx: tx.all(sa.select(runners.c.id))), "the process is forgotten"
            await service.run_once()
        await service.run_once()
        claimed = writer.run_sync(lambda tx: claims.claim_due(tx, runner="r", worker="w", backend="here", limit=5))
        assert [one.id for one in claimed] == [job.id]


async def test_a_locked_job_is_rerouted_later_and_keeps_no_other_waiting(postgres_ledger: str) -> None:
    """A caller's transaction may stay open, and changes nothing in the end."""
    there = SimpleNamespace(backends={}, route=lambda *_: "there")
    with writing(postgres_ledger, timeout_s=0.5) as writer:
        service = Recovery(writer, cast("Any", there), Timings())
        first, second = writer.run_sync(accept), writer.run_sync(accept)
        with locked(writer, first):
            await service.run_once()
            assert [now(writer, job).backend for job in (first, second)] == ["here", "there"]
        await service.run_once()
        assert now(writer, first).backend == "there"
        waits = [(job.id, now(writer, job).fencing_token) for job in (first, second)]
        writer.run_sync(lambda tx: due.confirm(tx, waits, identity="a broker"))
        invalidate = partial(due.invalidate_deliveries, backend="there", before=2**60)
        with locked(writer, first):
            assert await in_batches(writer, invalidate, most=recovery.ROWS) == 1


def test_a_reroute_by_another_process_is_seen_at_the_next_tick(writer: Writer) -> None:
    """The commit may have begun before the earlier read and become visible after a newer one."""
    writer.run_sync(accept)
    _, since = writer.database.read_sync(lambda tx: due.destinations(tx, since=None))
    assert writer.database.read_sync(lambda tx: due.destinations(tx, since=since))[0] <= {
        ("here", "conformance.job", None)
    }
    if writer.database.dialect == "postgresql":
        since = _begun_before_and_committed_after(writer)
    else:
        writer.run_sync(lambda tx: ledger.accept(tx, new_job(backend="there")))
    found, _ = writer.database.read_sync(lambda tx: due.destinations(tx, since=since))
    assert ("there", "conformance.job", None) in found


def _begun_before_and_committed_after(writer: Writer) -> Snapshot:
    """Return the `since` of a read while the commit was open."""
    slow = writer.database.connect()
    try:
        slow.execute("BEGIN")
        number = slow.execute("SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)").fetchone()[0]
        job = writer.run_sync(accept)
        _, since = writer.database.read_sync(lambda tx: due.destinations(tx, since=None))
        change = writer.database.named("UPDATE _ledger.jobs SET backend = 'there', changed = %s WHERE id = %s")
        slow.execute(change, (number, job.id))
        slow.execute("COMMIT")
    finally:
        slow.close()
    return since


def test_no_job_is_looked_at_again_for_as_long_as_a_transaction_of_others_is_open(postgres_ledger: str) -> None:
    """All jobs that have changed since its begin would be more and more."""
    with writing(postgres_ledger) as writer, closing(writer.database.connect()) as other:
        other.execute("BEGIN")
        number = other.execute("SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)").fetchone()[0]
        writer.run_sync(accept)
        found, since = writer.database.read_sync(partial(due.destinations, since=None))
        assert found == {("here", "conformance.job", None)}
        again, since = writer.database.read_sync(partial(due.destinations, since=since))
        assert again == set()
        other.execute(writer.database.named("UPDATE _ledger.jobs SET changed = %s"), (number,))
        other.execute("COMMIT")
        assert writer.database.read_sync(partial(due.destinations, since=since))[0] == found


@asynccontextmanager
async def running(writer: Writer, timings: Timings = Timings()) -> AsyncIterator[tuple[Runner, Lease]]:
    metrics = Metrics()
    lease = Lease(writer, metrics, name="mine", on_lost=lambda: None)
    lease.id = await writer.run(lease._enter)
    made = build_runner(
        writer=writer,
        lease=lease,
        handlers={},
        tools=cast("Any", None),
        resources=None,
        enqueuer=cast("Any", None),
        keeper=cast("Any", None),
        isolate=None,
        encryption=cast("Any", None),
        handed_down=NOTHING,
        metrics=metrics,
        tracing=Tracing(),
        watchdog=Watchdog(metrics),
        timings=timings,
    )
    made.start()
    try:
        yield made, lease
    finally:
        await made.drain(1.0)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_claim_whose_commit_s_answer_was_lost_is_handed_back(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process lives, so no other one would claim the job. Claims that are about to run stay."""
    job = await writer.run(accept)
    run = writer.run

    async def unheard(
        transaction: Callable[[Tx], Any], order: LockOrder, grouped: Grouped[Any, Any] | None = None
    ) -> Any:
        await run(transaction, order, grouped)
        raise Unavailable("its answer was lost")

    async with running(writer, Timings(orphan_check_s=0.1)) as (made, _):
        monkeypatch.setattr(writer, "run", unheard)
        with pytest.raises(Unavailable):
            await made.run(job.id, "here")
        assert now(writer, job).status is S.RUNNING
        monkeypatch.setattr(writer, "run", run)
        await until(lambda: now(writer, job).status is S.QUEUED)
        (taken,), _ = await made.claim_due("here", 1)
        await asyncio.sleep(0.5)
        assert now(writer, taken).status is S.RUNNING


def test_an_attempt_whose_end_was_recorded_is_not_resumed_once_the_next_one_is_due(writer: Writer) -> None:
    """The answer to the commit was lost in an outage, and its runner records the end again: it counts once."""
    job = claim(writer, "mine")
    error = JobError("BUSY", "try again", retryable=True, step="only", occurred_at=0)
    writer.run_sync(lambda tx: recording.record_outcome(tx, job, Outcome(S.RETRYING, error=error), steps=job.steps))
    assert writer.run_sync(lambda tx: due.promote_due(tx, 1, route=route))
    assert writer.run_sync(lambda tx: recovery.resume(tx, job, runner="mine", worker="w")) is None
    after = now(writer, job)
    assert (after.status, after.counted_attempts) == (S.QUEUED, 1)


async def test_a_step_whose_commit_s_answer_was_lost_is_finished_once(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step's children are already in the ledger, which is no failure of the step."""
    run, handed = writer.run, list[str]()

    class Enqueuer:
        accept = staticmethod(ledger.accept)

        @staticmethod
        def dispatch_new(jobs: list[Job]) -> None:
            handed.extend(job.id for job in jobs)

    async def unheard(
        transaction: Callable[[Tx], Any], order: LockOrder, grouped: Grouped[Any, Any] | None = None
    ) -> Any:
        monkeypatch.setattr(writer, "run", run)
        await run(transaction, order, grouped)
        raise Unavailable("its answer was lost")

    async with running(writer) as (made, lease):
        made._completion._children = Expander(writer, cast("Any", Enqueuer))
        job = await run(lambda tx: accept(tx, steps=("one", "two")))
        held = await run(
            lambda tx: claims.claim(tx, job.id, runner=lease.id, worker="w", backend="here", isolated=False)
        )
        assert held is not None
        step = Running(held, cast("Any", None), None, cast("Any", None), on_progress=print, on_emit=print)
        step.children.append(new_job(id="job_child"))
        monkeypatch.setattr(writer, "run", unheard)
        one, two = await made._completion.finish_step(step, held.steps, None)
        assert (one.status, two.status) == (StepStatus.SUCCEEDED, StepStatus.RUNNING)
        assert handed == ["job_child"]


async def test_a_claim_under_the_new_lease_outlives_the_loss_of_the_old_one(writer: Writer) -> None:
    """The claim may have been made just before this process noticed."""
    async with running(writer) as (made, lease):
        interrupted: dict[str, StopReason] = {}

        class Ran:
            def __init__(self, job: Job) -> None:
                self.job = job

            def interrupt(self, why: StopReason) -> None:
                interrupted[self.job.id] = why

        old, new = claim(writer, "before"), claim(writer, lease.id)
        await writer.run(lambda tx: recovery.release(tx, {Claim(old.id, old.fencing_token)}, runner="before"))
        assert await writer.run(
            lambda tx: claims.claim(tx, old.id, runner="other", worker="w", backend="here", isolated=False)
        )
        made._control._running = cast("Any", {(job.id, job.fencing_token): Ran(job) for job in (old, new)})
        made.lost()
        await until(lambda: bool(interrupted))
        assert interrupted == {old.id: StopReason.LOST}
        made._control._running.clear()


async def test_any_runner_may_claim_jobs_accepted_for_a_process_that_drains(writer: Writer) -> None:
    """Runners need not wait for the last running job of that process."""
    async with running(writer) as (made, lease):
        expected = await writer.run(lambda tx: ledger.accept(tx, new_job(), local_runner=lease.id))
        made._control._running = cast("Any", {("busy", 1): type("Busy", (), {"interrupt": lambda *_: None})()})
        draining = asyncio.create_task(made.drain(30.0))
        await until(lambda: now(writer, expected).delivered_to is None)
        assert not draining.done()
        made._control._running.clear()
        made._control._idle.set()
        await draining
