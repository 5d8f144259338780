"""Paused handlers: their jobs are not claimed, delay no other job, and are unblocked in order."""

from __future__ import annotations

import sqlalchemy as sa

from onward.jobs import blocked, claims, commands, concurrency, due, ledger
from onward.jobs.model import Job, Visible
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept

PAUSED, OTHER = "conformance.paused", "conformance.job"
BROKER = "run-id/sentinel"


def claim(tx: Tx, job_id: str) -> Job | None:
    return claims.claim(tx, job_id, runner="one", worker="w", backend="here", isolated=False)


def claim_due(tx: Tx, limit: int = 10) -> list[Job]:
    return claims.claim_due(tx, runner="one", worker="w", backend="here", limit=limit)


def claim_limited(tx: Tx, limit: int = 10, runner: str = "one") -> tuple[list[Job], bool]:
    return claims.claim_limited(tx, runner=runner, worker="w", backend="here", limit=limit)


def undelivered(tx: Tx) -> list[str]:
    return [row[0] for row in due.undelivered(tx, backend="here", identity=BROKER, grace_us=0, limit=1000)]


def paused(tx: Tx) -> Job:
    concurrency.pause(tx, PAUSED, by="ada")
    return accept(tx, PAUSED)


def now(writer: Writer, job: Job) -> Job:
    found = writer.run_sync(lambda tx: ledger.get(tx, job.id))
    assert found is not None
    return found


def test_a_job_of_a_paused_handler_is_not_claimed(writer: Writer) -> None:
    """The first claim blocks it: it is not delivered again, and a late confirmation changes nothing."""
    job = writer.run_sync(paused)
    assert writer.run_sync(claim_due) == []
    assert writer.run_sync(lambda tx: claim(tx, job.id)) is None
    assert writer.run_sync(claim_limited) == ([], False)
    assert now(writer, job).blocked == concurrency.PAUSED
    assert now(writer, job).version > job.version, "subscribers see it"
    writer.run_sync(lambda tx: due.confirm(tx, [(job.id, job.fencing_token)], identity=BROKER))
    assert now(writer, job).delivered_to is None
    assert writer.run_sync(undelivered) == []
    assert writer.run_sync(lambda tx: due.waiting(tx, backend="here")) == (0, None)


def test_jobs_of_a_paused_handler_do_not_hold_up_others(writer: Writer) -> None:
    """Any number of them may be at the front of the queue."""
    writer.run_sync(lambda tx: [paused(tx) for _ in range(3 * claims.CANDIDATES)])
    last = writer.run_sync(accept)
    looks = 0
    while not (found := writer.run_sync(claim_due)):
        looks += 1
        assert writer.run_sync(claim_limited) == ([], True)
    assert [job.id for job in found] == [last.id]
    assert looks == 3
    assert writer.run_sync(claim_limited) == ([], False)
    assert writer.run_sync(blocked.count) == {concurrency.PAUSED: 3 * claims.CANDIDATES}


def test_the_first_pause_is_kept_and_one_resume_ends_it(writer: Writer) -> None:
    first = writer.run_sync(lambda tx: concurrency.pause(tx, PAUSED, by="ada"))
    assert writer.run_sync(lambda tx: concurrency.pause(tx, PAUSED, by="bob")) == first
    assert writer.run_sync(concurrency.pauses) == [first]
    assert writer.run_sync(lambda tx: concurrency.resume(tx, PAUSED))
    assert not writer.run_sync(lambda tx: concurrency.resume(tx, PAUSED))
    assert writer.run_sync(concurrency.pauses) == []


def test_blocked_jobs_are_unblocked_in_order_and_delivered(writer: Writer) -> None:
    """The most urgent and then the oldest go first, unless the handler is paused."""
    waiting = [writer.run_sync(lambda tx, p=p: accept(tx, PAUSED, priority=p)) for p in (0, 0, -1)]  # type: ignore[misc]
    writer.run_sync(paused)
    writer.run_sync(claim_limited)
    assert writer.run_sync(blocked.handlers) == [PAUSED]
    assert writer.run_sync(blocked.admissible_handlers) == ([], None)
    assert writer.run_sync(lambda tx: blocked.unblock(tx, PAUSED, limit=10)) == []
    writer.run_sync(lambda tx: concurrency.resume(tx, PAUSED))
    assert writer.run_sync(blocked.admissible_handlers) == ([PAUSED], None)
    out = writer.run_sync(lambda tx: blocked.unblock(tx, PAUSED, limit=3))
    assert [job.id for job in out] == [waiting[2].id, waiting[0].id, waiting[1].id]
    assert set(writer.run_sync(undelivered)) == {job.id for job in out}
    assert writer.run_sync(blocked.count) == {concurrency.PAUSED: 1}
    assert [writer.run_sync(lambda tx, job=job: claim(tx, job.id)) is not None for job in out] == [True] * 3  # type: ignore[misc]


def test_a_blocked_job_that_is_cancelled_and_retried_waits_in_the_queue(writer: Writer) -> None:

    everything = Visible(everything=True)
    job = writer.run_sync(paused)
    writer.run_sync(lambda tx: claim(tx, job.id))
    writer.run_sync(lambda tx: commands.cancel(tx, job.id, reason=None, visible=everything))
    again = writer.run_sync(
        lambda tx: commands.retry(tx, job.id, from_start=False, visible=everything, route=lambda *_: "here")
    )
    assert again.blocked is None
    assert writer.run_sync(blocked.count) == {}


def test_a_job_that_runs_isolated_is_blocked_too(writer: Writer) -> None:
    """No process is started for a job that may not start."""
    job = writer.run_sync(paused)
    writer.run_sync(lambda tx: tx.execute(sa.update(jobs).values(deaths=2)))
    assert writer.run_sync(lambda tx: (claim(tx, job.id), claims.in_line(tx, job.id))) == (None, (None, False))
    assert writer.run_sync(lambda tx: claims.next_isolated(tx, backend="here")) is None
