"""Deliveries and their confirmations: a queued job counts as delivered only while its message exists."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from onward.backends.base import Delivery, Health
from onward.jobs import claims, due, ledger, recording
from onward.jobs.outcome import Outcome
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.maintenance.callers import CallersJobs
from onward.maintenance.redelivery import Redelivery
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept, locked, new_job, writing

BROKER = "run-id/sentinel"
GRACE_US = 5_000_000


def undelivered(writer: Writer, backend: str = "here") -> list[str]:
    rows = writer.run_sync(lambda tx: due.undelivered(tx, backend=backend, identity=BROKER, grace_us=0, limit=10))
    return [row[0] for row in rows]


def test_a_confirmed_job_is_not_delivered_again(writer: Writer) -> None:
    job = writer.run_sync(accept)
    assert undelivered(writer) == [job.id]
    writer.run_sync(lambda tx: due.confirm(tx, [(job.id, job.fencing_token)], identity=BROKER))
    assert undelivered(writer) == []


def given_back(tx: Tx, job_id: str) -> None:
    due.give_back(tx, job_id)


def postponed(tx: Tx, job_id: str) -> None:
    due.postpone(tx, job_id)


def claimed_and_handed_back(tx: Tx, job_id: str) -> None:
    job = claims.claim(tx, job_id, runner="one", worker="w", backend="here", isolated=False)
    assert job is not None
    recording.record_outcome(tx, job, Outcome(JobStatus.QUEUED, counts_as_attempt=False), steps=job.steps)


def sent_elsewhere_and_back(tx: Tx, _job_id: str) -> None:
    due.reroute(tx, old="here", handler="conformance.job", new="there", limit=10)
    due.reroute(tx, old="there", handler="conformance.job", new="here", limit=10)


def test_a_confirmation_does_not_wait_for_a_claim_of_the_same_job(postgres_ledger: str) -> None:
    """To wait for each other's rows would be a deadlock, so it confirms the other jobs only."""
    with writing(postgres_ledger) as writer, psycopg.connect(postgres_ledger) as claiming:
        first, second = (writer.run_sync(accept) for _ in range(2))
        claiming.execute(
            writer.database.named("SELECT 1 FROM _ledger.jobs WHERE id = %s FOR UPDATE").encode(), [first.id]
        )
        waits = [(job.id, job.fencing_token) for job in (first, second)]
        writer.run_sync(lambda tx: due.confirm(tx, waits, identity=BROKER))
        claiming.rollback()
        assert undelivered(writer) == [first.id]


@pytest.mark.parametrize("kind", [CallersJobs, Redelivery])
async def test_a_job_that_a_caller_has_locked_is_not_delivered_at_each_look(
    postgres_ledger: str, kind: type[CallersJobs | Redelivery]
) -> None:
    """Nobody can confirm it, and each message would keep a worker waiting for the lock."""
    sent: list[str] = []

    async def send(_backend: str, deliveries: Sequence[Delivery]) -> bool:
        sent.extend(one.job_id for one in deliveries)
        return True

    backends = {"here": SimpleNamespace(runs_elsewhere=True)}
    dispatcher: Any = SimpleNamespace(backends=backends, health_of=lambda _: Health(True, BROKER), send=send)
    timings = Timings(recheck_s=0.0, delivery_grace_s=60.0)
    with writing(postgres_ledger) as writer:
        job = await writer.run(lambda tx: ledger.accept(tx, new_job(), local_runner=ledger.UNDELIVERED))
        await writer.run(lambda tx: tx.execute(sa.update(jobs).values(due_at=jobs.c.due_at - 100 * GRACE_US)))
        with locked(writer, job):
            service = kind("here", writer, dispatcher, timings)
            for _ in range(3):
                await service.run_once()
            assert sent == [job.id]
        await kind("here", writer, dispatcher, timings).run_once()
        assert sent == [job.id, job.id]
        assert undelivered(writer) == []


@pytest.mark.parametrize("meanwhile", [given_back, postponed, claimed_and_handed_back, sent_elsewhere_and_back])
def test_a_confirmation_that_comes_late_confirms_nothing(writer: Writer, meanwhile: object) -> None:
    """The message is used up: the job needs another one, however long the queue is."""
    job = writer.run_sync(accept)
    writer.run_sync(lambda tx: meanwhile(tx, job.id))  # type: ignore[operator]
    writer.run_sync(lambda tx: due.confirm(tx, [(job.id, job.fencing_token)], identity=BROKER))
    assert undelivered(writer) == [job.id]


def test_a_job_that_is_handed_back_keeps_its_place_and_is_delivered_at_once(writer: Writer) -> None:
    """No process is about to deliver it."""
    job = writer.run_sync(accept)
    writer.run_sync(lambda tx: tx.execute(sa.update(jobs).values(due_at=jobs.c.due_at - GRACE_US)))
    writer.run_sync(lambda tx: claimed_and_handed_back(tx, job.id))
    rows = writer.run_sync(lambda tx: due.undelivered(tx, backend="here", identity=BROKER, grace_us=GRACE_US, limit=9))
    assert rows == [(job.id, "conformance.job", 0, 2, True)], "and it differs from jobs that never ran"


def test_a_job_that_is_handed_back_goes_before_jobs_that_have_not_begun(writer: Writer) -> None:
    """Interrupted jobs resume soon, even if they were accepted later than the whole queue."""
    waits, runs = writer.run_sync(accept), writer.run_sync(accept)
    writer.run_sync(lambda tx: accept(tx, priority=-1))
    with_hour = sa.update(jobs).where(jobs.c.id == waits.id).values(due_at=jobs.c.due_at - 720 * GRACE_US)
    writer.run_sync(lambda tx: tx.execute(with_hour))
    writer.run_sync(lambda tx: claimed_and_handed_back(tx, runs.id))
    line = undelivered(writer)
    assert line[0] not in (waits.id, runs.id), "priority goes before all"
    assert set(line[1:]) == {waits.id, runs.id}
    oldest, own = (writer.run_sync(lambda tx, id_=id_: ledger.get(tx, id_)) for id_ in (waits.id, runs.id))  # type: ignore[misc]
    assert oldest is not None
    assert own is not None
    assert own.due_at == oldest.due_at


def test_a_postponed_job_is_not_delivered_again_at_once(writer: Writer) -> None:
    """Maintenance and workers would pass it to and fro while the maximum of isolated jobs runs."""
    job = writer.run_sync(accept)
    writer.run_sync(lambda tx: tx.execute(sa.update(jobs).values(due_at=jobs.c.due_at - 2 * GRACE_US)))
    writer.run_sync(lambda tx: due.postpone(tx, job.id))
    asked = {"backend": "here", "identity": BROKER, "limit": 9}
    assert writer.run_sync(lambda tx: due.undelivered(tx, grace_us=GRACE_US, **asked)) == []  # type: ignore[arg-type]
    assert undelivered(writer) == [job.id]


def test_deliveries_are_invalidated_and_jobs_rerouted_in_batches(writer: Writer) -> None:
    """Only jobs of that backend which were queued before that time are changed, and at most the limit."""
    waits = [writer.run_sync(accept) for _ in range(3)]
    asked = writer.run_sync(lambda tx: tx.now)
    new = writer.run_sync(lambda tx: accept(tx, backend="there"))
    for job in (*waits, new):
        writer.run_sync(lambda tx, job=job: due.confirm(tx, [(job.id, job.fencing_token)], identity=BROKER))  # type: ignore[misc]
    pages = [
        writer.run_sync(lambda tx: due.invalidate_deliveries(tx, backend="here", before=asked, limit=2))
        for _ in range(3)
    ]
    assert pages == [2, 1, 0]
    assert undelivered(writer) == [job.id for job in waits]
    assert undelivered(writer, "there") == []
    pages = [
        writer.run_sync(lambda tx: due.reroute(tx, old="here", handler="conformance.job", new="there", limit=2))
        for _ in range(3)
    ]
    assert pages == [2, 1, 0]
    assert undelivered(writer, "there") == [job.id for job in waits]


def test_a_job_of_a_process_with_a_fast_clock_is_delivered(writer: Writer) -> None:
    """A queued job is due, even if its due time is in the future by this clock."""
    job = writer.run_sync(accept)
    writer.run_sync(lambda tx: tx.execute(sa.update(jobs).values(due_at=jobs.c.due_at + 3_600_000_000)))
    assert undelivered(writer) == [job.id]
