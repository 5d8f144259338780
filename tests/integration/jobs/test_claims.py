"""Claims: one runner has a job, only while its fencing token is the newest."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from onward.jobs import admission, claims, concurrency, due, ledger, recording, recovery
from onward.jobs.base import Superseded
from onward.jobs.claimer import Claimer
from onward.jobs.model import Job, Progress, Visible
from onward.jobs.outcome import Outcome
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.storage.tables import jobs, runners
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import OLDER, accept, new_job, note_statements, writing

S = JobStatus
_crash = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(deaths=sa.bindparam("crashes_"))
_cancelling = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(status="CANCELLING")
_enter = sa.insert(runners)


def claim_due(tx: Tx, runner: str, limit: int, backend: str = "here") -> list[Job]:
    return claims.claim_due(tx, runner=runner, worker=runner, backend=backend, limit=limit)


def claim(tx: Tx, job: Job, runner: str = "one", *, isolated: bool = False) -> Job | None:
    return claims.claim(tx, job.id, runner=runner, worker=runner, backend="here", isolated=isolated)


@pytest.mark.parametrize("waiting", [1, 5, 50, 500])
def test_a_claim_takes_at_most_its_limit(writer: Writer, waiting: int) -> None:
    """Memory must not grow with the backlog."""
    writer.run_sync(lambda tx: [accept(tx) for _ in range(waiting)])
    for limit in (1, 3):
        found = writer.run_sync(lambda tx, limit=limit: claim_due(tx, "one", limit))  # type: ignore[misc]
        assert len(found) <= limit
    counts = writer.run_sync(lambda tx: tx.all(sa.select(jobs.c.status)))
    assert sum(row[0] == "RUNNING" for row in counts) == min(waiting, 4)


async def test_two_runners_at_once_claim_each_job_once(ledger_url: str) -> None:
    """The runners claim by id and from the queue at the same time."""
    with writing(ledger_url) as one, writing(ledger_url) as two:
        accepted = await one.run(lambda tx: [accept(tx) for _ in range(100)])
        asked: list[Awaitable[Sequence[Job | None]]] = []
        for job in accepted:
            asked += [
                one.run(lambda tx, job=job: [claim(tx, job, "one")]),  # type: ignore[misc]
                two.run(lambda tx, job=job: [claim(tx, job, "two")]),  # type: ignore[misc]
                two.run(lambda tx: claim_due(tx, "two", 2)),
            ]
        found = [job.id for some in await asyncio.gather(*asked) for job in some if job is not None]
    assert sorted(found) == sorted(job.id for job in accepted)


async def test_jobs_that_are_delivered_together_are_claimed_by_one_statement(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that comes twice is claimed once, and one that cannot be claimed is left to the claim of a single job."""
    lease, apart = SimpleNamespace(id="one", name="one"), list[str]()
    claimer = Claimer(writer, lease, None, Timings(), takes=(), isolated=False)  # type: ignore[arg-type]
    alone = claims.claim

    def noted(tx: Tx, job_id: str, **given: Any) -> Job | None:
        apart.append(job_id)
        return alone(tx, job_id, **given)

    monkeypatch.setattr(claims, "claim", noted)
    accepted = [await writer.run(lambda tx, b=b: accept(tx, backend=b)) for b in ("here", "here", "there", "here")]  # type: ignore[misc]
    over = accepted.pop()
    await writer.run(lambda tx: claim(tx, over))
    apart.clear()
    delivered = [*((job.id, job.backend) for job in accepted), (accepted[0].id, "here"), (over.id, "here")]
    found = await writer.run(lambda tx: claimer._claim_each(tx, delivered))
    assert [job.id for job in found[:3] if isinstance(job, Job)] == [job.id for job in accepted]
    assert found[3:] == [None, None]
    assert apart == [accepted[0].id, over.id]
    kept = await writer.run(lambda tx: [ledger.get(tx, job.id) for job in accepted])
    assert kept == found[:3]


def test_a_delivery_of_a_running_job_takes_three_statements(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim, the look for limits, and one look at where else the job may run."""
    lease = SimpleNamespace(id="one", name="one")
    claimer = Claimer(writer, lease, None, Timings(), takes=(), isolated=False)  # type: ignore[arg-type]
    job = writer.run_sync(accept)
    writer.run_sync(lambda tx: claim(tx, job))
    seen = note_statements(writer, monkeypatch)
    assert writer.run_sync(lambda tx: claimer._claim(tx, job_id=job.id, backend="here")) is None
    assert sum(bool(re.search(r"jobs\b", text)) for text in seen) == 3, seen


async def test_a_look_for_work_takes_one_statement_beside_the_clock(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle process looks again and again; it finds jobs to claim, and those that have to run isolated."""
    lease = SimpleNamespace(id="one", name="one")
    claimer = Claimer(writer, lease, None, Timings(), takes=(), isolated=False)  # type: ignore[arg-type]
    seen = note_statements(writer, monkeypatch)
    assert not await claimer.any_due("here")
    assert len(seen) == 2, seen
    job = await writer.run(accept)
    assert await claimer.any_due("here")
    assert not await claimer.any_due("there")
    await writer.run(lambda tx: tx.execute(_crash, id_=job.id, crashes_=claims.CRASHES_BEFORE_ISOLATION))
    assert await claimer.any_due("here")
    await writer.run(lambda tx: claim(tx, job, isolated=True))
    assert not await claimer.any_due("here")


async def test_whether_there_are_limits_is_known_from_the_begin_on_postgresql(
    postgres_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim from the line does not ask again."""
    lease, control = SimpleNamespace(id="one", name="one"), SimpleNamespace(claimed=lambda _jobs: None)
    with writing(postgres_ledger) as writer:
        claimer = Claimer(writer, lease, control, Timings(), takes=(), isolated=False)  # type: ignore[arg-type]
        seen = note_statements(writer, monkeypatch)
        for paused in (False, True, False):
            if paused:
                await writer.run(lambda tx: concurrency.pause(tx, "conformance.paused", by=None))
            else:
                await writer.run(lambda tx: concurrency.resume(tx, "conformance.paused"))
            job = await writer.run(accept)
            claimer.any_limits = True  # so that the claim wants to know
            found = await claimer.claim_due("here", 5, exclude=(), isolated=None)
            assert [one.id for one in found.jobs] == [job.id]
            assert claimer.any_limits is paused
        assert writer.database.driver.compiled(concurrency._any)[0] not in seen


def test_the_most_urgent_are_claimed_first(writer: Writer) -> None:
    """The smaller priority number goes first, then the job that has waited longest."""
    accepted = [writer.run_sync(lambda tx, p=p: accept(tx, priority=p)) for p in (5, 0, -5, 0, 5, -5)]  # type: ignore[misc]
    found = [job.id for _ in range(3) for job in writer.run_sync(lambda tx: claim_due(tx, "one", 2))]
    assert found == [accepted[n].id for n in (2, 5, 1, 3, 0, 4)]


def test_a_job_accepted_for_a_local_runner_is_claimed_by_no_other(writer: Writer) -> None:
    """Other runners may claim it once its local runner is gone."""
    writer.run_sync(lambda tx: tx.execute(_enter, id="local", beat=1, place="", name="h", started_at=tx.now, **OLDER))
    job = writer.run_sync(lambda tx: ledger.accept(tx, new_job(), local_runner="local"))
    assert writer.run_sync(lambda tx: claim_due(tx, "other", 5)) == []
    writer.run_sync(lambda tx: recovery.release_runner(tx, runner="local"))
    assert [one.id for one in writer.run_sync(lambda tx: claim_due(tx, "other", 5))] == [job.id]


def test_a_job_about_to_be_delivered_to_its_local_runner_is_not_claimed_from_the_queue(writer: Writer) -> None:
    """Others claim it only when its acceptance is so long ago that the delivery must be lost."""
    job = writer.run_sync(lambda tx: ledger.accept(tx, new_job(), local_runner="one"))

    def due(tx: Tx, grace_us: int) -> list[Job]:
        return claims.claim_due(tx, runner="one", worker="one", backend="here", limit=5, grace_us=grace_us)

    assert writer.run_sync(lambda tx: due(tx, 60_000_000)) == []
    assert [one.id for one in writer.run_sync(lambda tx: due(tx, 0))] == [job.id]


def test_an_excluded_job_is_not_claimed_from_the_queue(writer: Writer) -> None:
    """The job waits for another job of its request; other jobs are claimed."""
    first, second = writer.run_sync(lambda tx: (accept(tx), accept(tx)))
    found = writer.run_sync(
        lambda tx: claims.claim_due(tx, runner="one", worker="one", backend="here", limit=5, exclude=(first.id,))
    )
    assert [job.id for job in found] == [second.id]


def test_jobs_of_another_backend_are_not_claimed(writer: Writer) -> None:
    writer.run_sync(lambda tx: accept(tx, backend="there"))
    assert writer.run_sync(lambda tx: claim_due(tx, "one", 5)) == []


def test_a_job_whose_runner_crashed_twice_runs_isolated(writer: Writer) -> None:
    """Only a process that runs nothing else claims it."""
    job = writer.run_sync(accept)
    writer.run_sync(lambda tx: tx.execute(_crash, id_=job.id, crashes_=claims.CRASHES_BEFORE_ISOLATION))
    assert writer.run_sync(lambda tx: claim_due(tx, "one", 5)) == []
    assert writer.run_sync(lambda tx: claim(tx, job)) is None
    assert writer.run_sync(lambda tx: claims.in_line(tx, job.id)) == ("here", True)
    assert writer.run_sync(lambda tx: claims.next_isolated(tx, backend="here")) == job.id
    assert writer.run_sync(lambda tx: claim(tx, job, isolated=True)) is not None
    assert writer.run_sync(lambda tx: claims.in_line(tx, job.id)) == (None, False)


def test_a_claim_that_is_over_can_write_nothing(writer: Writer) -> None:
    """Progress, steps and outcomes are refused, even if the same runner has claimed the job again."""
    writer.run_sync(lambda tx: tx.execute(_enter, id="one", beat=1, place="", name="h", started_at=tx.now, **OLDER))
    job = writer.run_sync(lambda tx: accept(tx, steps=("a", "b")))
    stale = writer.run_sync(lambda tx: claim(tx, job))
    assert stale is not None
    writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="one", beat=1))
    fresh = writer.run_sync(lambda tx: claim(tx, job))
    assert fresh is not None
    for write in (
        lambda tx: recording.report_progress(tx, stale, Progress(1)),
        lambda tx: recording.finish_step(tx, stale, stale.steps, 1, None),
        lambda tx: recording.record_outcome(tx, stale, Outcome(S.SUCCEEDED), steps=stale.steps[:1]),
        lambda tx: recording.record_outcome(tx, stale, Outcome(S.FAILED), steps=stale.steps),
        lambda tx: recording.record_outcome(tx, stale, Outcome(S.QUEUED), steps=stale.steps),
    ):
        with pytest.raises(Superseded):
            writer.run_sync(write)
        assert writer.run_sync(lambda tx: ledger.get(tx, job.id)) == fresh


def test_steps_and_outcomes_of_several_jobs_are_those_of_each(writer: Writer) -> None:
    """Written together, they are what each would be by itself."""
    apart, *together = [
        job
        for _ in range(3)
        if (job := writer.run_sync(lambda tx: claim(tx, accept(tx, steps=("a", "b"), owner="ada")))) is not None
    ]
    finish = [(job, job.steps, job.id, Progress(2)) for job in together]
    writer.run_sync(lambda tx: recording.finish_step(tx, apart, apart.steps, apart.id, Progress(2)))
    finished = writer.run_sync(lambda tx: recording.finish_each(tx, finish))
    assert [status for _, status in finished] == [S.RUNNING, S.RUNNING]
    ended = [
        (job, Outcome(S.SUCCEEDED, result={"n": job.id}), steps, Progress(3))
        for job, (steps, _) in zip(together, finished, strict=True)
    ]
    steps_apart = writer.run_sync(lambda tx: ledger.get(tx, apart.id)).steps  # type: ignore[union-attr]
    outcome = Outcome(S.SUCCEEDED, result={"n": apart.id})
    writer.run_sync(lambda tx: recording.record_outcome(tx, apart, outcome, steps=steps_apart, progress=Progress(3)))
    assert writer.run_sync(lambda tx: recording.record_each(tx, ended)) == [S.SUCCEEDED, S.SUCCEEDED]
    shown = [timeless(writer, job) for job in (apart, *together)]
    assert shown[0].replace(apart.id, "ID") == shown[1].replace(together[0].id, "ID")
    assert shown[0].replace(apart.id, "ID") == shown[2].replace(together[1].id, "ID")
    counts = writer.run_sync(lambda tx: ledger.counts(tx, visible=Visible(owner="ada")))
    assert {status: n for status, n in counts.items() if n} == {S.SUCCEEDED: 3}


def timeless(writer: Writer, job: Job) -> str:
    """Return all of a job as text but its times and the number of its commit."""
    found = writer.run_sync(lambda tx: ledger.get(tx, job.id))
    return re.sub(r"\w*(_at|changed)=\d+", "", repr(found))


def test_several_jobs_are_written_as_a_whole_or_not_at_all(writer: Writer) -> None:
    """One of them is being cancelled: the others have to be written without it."""
    first, second = (writer.run_sync(lambda tx: claim(tx, accept(tx, steps=("a", "b")))) for _ in range(2))
    assert first is not None
    assert second is not None
    writer.run_sync(lambda tx: tx.execute(_cancelling, id_=second.id))
    finish = [(job, job.steps, 1, None) for job in (first, second)]
    ended = [(job, Outcome(S.SUCCEEDED), job.steps[:1], None) for job in (first, second)]
    for write in (lambda tx: recording.finish_each(tx, finish), lambda tx: recording.record_each(tx, ended)):
        with pytest.raises(Superseded):
            writer.run_sync(write)
    assert writer.run_sync(lambda tx: ledger.get(tx, first.id)) == first


def test_only_crashes_that_the_job_surely_caused_are_poison(writer: Writer) -> None:
    """The third crash counts in a process of its own; otherwise many more are needed."""
    job = writer.run_sync(accept)
    now = None
    for death in range(1, claims.MAX_CRASHES + 2):
        writer.run_sync(lambda tx: tx.execute(_enter, id="one", beat=1, place="", name="h", started_at=tx.now, **OLDER))
        assert writer.run_sync(lambda tx: claim(tx, job, isolated=True)) is not None
        writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="one", beat=1))
        now = writer.run_sync(lambda tx: ledger.get(tx, job.id))
        assert now is not None
        assert (now.crash_count, now.counted_attempts) == (death, 0)
        assert now.status is (S.FAILED if death > claims.MAX_CRASHES else S.QUEUED)
    assert now is not None
    assert now.error is not None
    assert now.error.code == "POISON"


@pytest.mark.parametrize(
    "statement",
    [claims._claim, claims._claim_due, claims._claim_admitted, admission._candidate, admission._block, due._give_back],
)
def test_a_job_that_is_named_is_found_by_its_key(postgres_ledger: str, statement: Any) -> None:
    """Statistics of a short line made PostgreSQL read the whole line for each claim of a long one."""
    with writing(postgres_ledger) as writer:
        writer.run_sync(lambda tx: [accept(tx) for _ in range(300)])
        text, defaults = writer.database.driver.compiled(statement)
        bound = ("id_", "runner_", "worker_", "backend_", "ids", "reason_", "exclude")
        numbers = ("crashes_", "change", "now", "before_", "after_", "limit_")
        given = {**defaults, **dict.fromkeys(bound, "[]"), **dict.fromkeys(numbers, 1)}
        with contextlib.closing(writer.database.connect()) as connection:
            connection.execute("SET enable_seqscan = off")
            found = [line for (line,) in connection.execute(f"EXPLAIN {text}", given)]
    reads = [line for line in found if " on jobs" in line and "Scan" in line]
    assert sum("jobs_ready" in line for line in reads) <= (statement is claims._claim_due), found  # its line
    assert any("jobs_pkey" in line for line in reads), found
