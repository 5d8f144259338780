"""Jobs that have not begun by their time are cancelled, exactly at the claim and soon by maintenance."""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa

from onward.jobs import claims, commands, concurrency, due, expiry, ledger, recording, uniqueness
from onward.jobs.limits import Limit
from onward.jobs.model import Job, UniqueKey, Visible
from onward.jobs.outcome import HANDED_BACK, Outcome
from onward.jobs.states import JobStatus, StepStatus
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept, new_job, pass_a_moment, route

S = JobStatus
ALL = Visible(everything=True)
HOUR_US = 3_600_000_000
_set_time = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(expires_at=sa.bindparam("at_"))


def get(writer: Writer, job: Job) -> Job:
    found = writer.run_sync(lambda tx: ledger.get(tx, job.id))
    assert found is not None
    return found


def accepted(writer: Writer, expires: int = HOUR_US, **values: Any) -> Job:
    return writer.run_sync(lambda tx: accept(tx, owner="ann", expires=expires, **values))


def set_over(tx: Tx, job: Job) -> None:
    """Let the job's time be over at this moment."""
    tx.execute(_set_time, id_=job.id, at_=tx.now)


def claim(tx: Tx, job: Job) -> Job | None:
    return claims.claim(tx, job.id, runner="one", worker="w", backend="here", isolated=False)


def test_the_time_counts_from_the_due_time(writer: Writer) -> None:
    """A job for later has as much time as one that is due at once."""
    job = accepted(writer)
    assert job.expires_at == job.created_at + HOUR_US
    at = job.created_at + 5 * HOUR_US
    later = accepted(writer, run_at=at)
    assert (later.status, later.expires_at) == (S.SCHEDULED, at + HOUR_US)
    assert get(writer, later) == later
    assert writer.run_sync(accept).expires_at is None


def test_no_claim_after_the_time_begins_the_job(writer: Writer) -> None:
    """Neither by its id nor from the queue, with limits or without, though maintenance has not been there yet."""
    limited = Limit(concurrency=5)
    writer.run_sync(lambda tx: concurrency.configure(tx, limits={"conformance.limited": limited}))
    line: dict[str, Any] = {"runner": "one", "worker": "w", "backend": "here"}
    for handler in ("conformance.job", "conformance.limited"):
        job, in_time = accepted(writer, handler=handler), accepted(writer, handler=handler)
        writer.run_sync(partial(set_over, job=job))
        assert writer.run_sync(partial(claim, job=job)) is None
        found = writer.run_sync(lambda tx: claims.claim_due(tx, limit=5, **line))
        found += writer.run_sync(lambda tx: claims.claim_limited(tx, limit=5, **line))[0]
        assert [one.id for one in found] == [in_time.id]
        assert not writer.run_sync(lambda tx: claims.any_due(tx, runner="one", backend="here"))
        assert get(writer, job).status is S.QUEUED


def test_a_job_is_claimed_up_to_its_time(writer: Writer) -> None:
    """One microsecond before is early enough."""
    job = accepted(writer)

    def late_claim(tx: Tx) -> Job | None:
        tx.execute(_set_time, id_=job.id, at_=tx.now + 1)
        return claim(tx, job)

    assert writer.run_sync(late_claim) is not None


def test_an_expired_job_is_cancelled_with_a_reason(writer: Writer) -> None:
    """Jobs whose time came first go first, at most as many as asked for; all others stay as they are."""
    waiting, late, first = (accepted(writer, steps=("a", "b")) for _ in range(3))
    scheduled = accepted(writer, run_at=waiting.created_at + HOUR_US)
    writer.run_sync(lambda tx: tx.execute(_set_time, id_=first.id, at_=1))
    writer.run_sync(partial(set_over, job=late))
    writer.run_sync(lambda tx: tx.execute(_set_time, id_=scheduled.id, at_=2))
    assert writer.run_sync(expiry.next_expiry) == 1
    assert [job.id for job in writer.run_sync(lambda tx: expiry.expire_due(tx, 2))] == [first.id, scheduled.id]
    assert [job.id for job in writer.run_sync(lambda tx: expiry.expire_due(tx, 2))] == [late.id]
    assert writer.run_sync(lambda tx: expiry.expire_due(tx, 2)) == []
    assert writer.run_sync(expiry.next_expiry) == waiting.expires_at
    job = get(writer, late)
    assert (job.status, job.version, job.attempts, job.reason) == (S.CANCELLED, 2, (), None)
    assert [step.status for step in job.steps] == [StepStatus.SKIPPED] * 2
    assert job.error is not None
    assert job.expires_at is not None
    assert (job.error.code, job.error.occurred_at, job.error.retryable) == ("EXPIRED", job.finished_at, True)
    assert job.finished_at is not None
    assert job.finished_at >= job.expires_at
    assert get(writer, waiting) == waiting
    counts = writer.run_sync(lambda tx: ledger.counts(tx, visible=Visible("ann")))
    assert (counts[S.QUEUED], counts[S.SCHEDULED], counts[S.CANCELLED]) == (1, 0, 3)


def test_a_job_that_has_begun_does_not_expire(writer: Writer) -> None:
    """Neither while it runs nor when it waits for its next attempt, handed back or after an error."""
    for outcome in (HANDED_BACK, Outcome(S.RETRYING)):
        job = accepted(writer)
        started = writer.run_sync(partial(claim, job=job))
        writer.run_sync(partial(set_over, job=job))
        assert writer.run_sync(lambda tx: expiry.expire_due(tx, 5)) == []
        assert started is not None
        writer.run_sync(partial(recording.record_outcome, job=started, outcome=outcome, steps=started.steps))
        assert writer.run_sync(lambda tx: expiry.expire_due(tx, 5)) == []
        writer.run_sync(lambda tx: due.promote_due(tx, 5, route=route))
        assert writer.run_sync(partial(claim, job=job)) is not None


def test_a_blocked_job_expires_and_blocks_no_other(writer: Writer) -> None:
    limited = Limit(concurrency=1)
    writer.run_sync(lambda tx: concurrency.configure(tx, limits={"conformance.job": limited}))
    running, blocked = accepted(writer), accepted(writer)
    assert writer.run_sync(partial(claim, job=running)) is not None
    assert writer.run_sync(partial(claim, job=blocked)) is None
    assert get(writer, blocked).blocked == concurrency.CONCURRENCY
    writer.run_sync(partial(set_over, job=blocked))
    assert [job.id for job in writer.run_sync(lambda tx: expiry.expire_due(tx, 5))] == [blocked.id]
    assert writer.run_sync(lambda tx: ledger.count_open(tx, "ann")) == 1


def test_a_manual_retry_gives_a_job_that_never_began_as_long_again(writer: Writer) -> None:
    """A job that had begun does not expire any more."""
    job = accepted(writer)
    writer.run_sync(partial(set_over, job=job))
    writer.run_sync(lambda tx: expiry.expire_due(tx, 5))
    again = writer.run_sync(lambda tx: commands.retry(tx, job.id, from_start=False, visible=ALL, route=route))
    assert again.expires_at is not None
    assert (again.status, again.error, again.expires_at - again.due_at) == (S.QUEUED, None, HOUR_US)
    before = accepted(writer)  # by a process of the release before
    former = sa.update(jobs).where(jobs.c.id == before.id).values(expires_in=None)
    writer.run_sync(lambda tx: tx.execute(former))
    writer.run_sync(partial(set_over, job=before))
    span = (get(writer, before).expires_at or 0) - before.due_at
    writer.run_sync(lambda tx: expiry.expire_due(tx, 5))
    again = writer.run_sync(lambda tx: commands.retry(tx, before.id, from_start=False, visible=ALL, route=route))
    assert again.expires_at == again.due_at + span
    started = accepted(writer)
    claimed = writer.run_sync(partial(claim, job=started))
    assert claimed is not None
    writer.run_sync(lambda tx: recording.record_outcome(tx, claimed, Outcome(S.FAILED), steps=claimed.steps))
    again = writer.run_sync(lambda tx: commands.retry(tx, started.id, from_start=False, visible=ALL, route=route))
    assert (again.status, again.expires_at) == (S.QUEUED, None)


def test_an_expired_job_keeps_no_other_from_its_unique_key(writer: Writer) -> None:
    """A caller gets another one, though maintenance has not been there yet."""

    def ask(tx: Tx) -> Job:
        key = UniqueKey("key", ("scheduled", "queued", "running"))
        return uniqueness.accept(tx, new_job(expires=HOUR_US, unique=key), ledger.accept)

    job = writer.run_sync(ask)
    assert writer.run_sync(ask).id == job.id
    writer.run_sync(partial(set_over, job=job))
    other = writer.run_sync(ask)
    assert (other.id != job.id, other.replayed) == (True, False)
    assert writer.run_sync(ask).id == other.id


def test_a_job_that_is_put_off_expires_as_long_after_its_new_time(writer: Writer) -> None:
    def ask(tx: Tx) -> Job:
        key = UniqueKey("key", ("scheduled", "queued"), debounce=HOUR_US, max_wait=10 * HOUR_US)
        return uniqueness.accept(tx, new_job(expires=HOUR_US, unique=key), ledger.accept)

    first = writer.run_sync(ask)
    pass_a_moment()
    last = writer.run_sync(ask)
    assert last.id == first.id
    assert last.due_at > first.due_at
    assert [job.expires_at and job.expires_at - job.due_at for job in (first, last)] == [HOUR_US, HOUR_US]
