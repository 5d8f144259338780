"""The processes of the ledger, and the wish of an admin that one drains."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from onward.jobs import claims, due, workers
from onward.jobs.base import NotFound, WorkerRefused
from onward.jobs.leases import Lease
from onward.jobs.workers import Worker
from onward.storage.tables import jobs, runners
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from tests.ledgers import OLDER, accept, writing

_enter = sa.insert(runners)


class Process:
    """A lease without its thread, whose heartbeats are made on request."""

    def __init__(self, writer: Writer, role: str) -> None:
        self.drains = False
        self.asked = 0
        self.lease = Lease(
            writer,
            Metrics(),
            name=f"host:{role}",
            on_lost=lambda: None,
            on_drain=self._note,
            is_draining=lambda: self.drains,
            role=role,
            version="1.2.3",
        )
        self.lease.id = writer.run_sync(self.lease._enter)

    def _note(self) -> None:
        self.asked += 1

    def beat(self) -> None:
        self.lease._observe()


def shown(writer: Writer, process: Process) -> Worker:
    (found,) = [one for one in writer.run_sync(workers.all_workers) if one.id == process.lease.id]
    return found


def test_each_process_is_shown_with_its_release_its_memory_and_the_jobs_that_it_runs(writer: Writer) -> None:
    worker, api = Process(writer, workers.WORKER), Process(writer, workers.API)
    for _ in range(2):
        job = writer.run_sync(accept)
        writer.run_sync(
            lambda tx, job=job: claims.claim(  # type: ignore[misc]
                tx, job.id, runner=worker.lease.id, worker="w", backend="here", isolated=False
            )
        )
    writer.run_sync(accept)  # nobody runs it
    first, second = writer.run_sync(workers.all_workers)
    assert [first, second] == [shown(writer, worker), shown(writer, api)]
    assert (first.name, first.role, first.version, first.running) == ("host:worker", "worker", "1.2.3", 2)
    assert (second.role, second.running, second.draining) == ("api", 0, False)
    assert writer.run_sync(workers.running_by_handler) == {worker.lease.id: {"conformance.job": 2}}
    (waiting,) = writer.run_sync(due.backlog)
    assert (waiting.handler, waiting.destination, waiting.depth, waiting.blocked) == ("conformance.job", "here", 1, 0)
    assert 1_000_000 < (first.memory_bytes or 0) < 100_000_000_000


def test_of_each_process_the_jobs_that_run_longest_are_found(writer: Writer) -> None:
    """Ids tell when jobs were accepted, and no more than that: one that waited long may have begun just now."""
    busy, other = Process(writer, workers.WORKER).lease.id, Process(writer, workers.API).lease.id
    running = [writer.run_sync(accept).id for _ in range(6)]
    begin = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_"))

    def start_at(job_id: str, at: int, runner: str) -> None:
        values = {"status": "RUNNING", "runner": runner, "attempt_started_at": at}
        writer.run_sync(lambda tx: tx.execute(begin.values(values), id_=job_id))

    for at, job_id in enumerate(reversed(running[:5])):
        start_at(job_id, at, busy)
    start_at(running[5], 1, other)
    found = writer.run_sync(lambda tx: workers.longest_running(tx, [busy, other, "runner_none"], 3))
    assert found == {busy: [running[4], running[3], running[2]], other: [running[5]]}


def test_the_jobs_of_a_process_are_found_by_the_index_of_those_that_run(sqlite_ledger: str) -> None:
    with writing(sqlite_ledger) as writer:
        text, defaults = writer.database.driver.compiled(workers._longest)
        explained = f"EXPLAIN QUERY PLAN {text}"
        rows = writer.database.connect().execute(explained, {**defaults, "ids": "[]", "limit_": 5}).fetchall()
    assert any("jobs_held (runner=?" in row[-1] for row in rows), rows


def test_a_heartbeat_shows_the_memory_of_now_and_that_the_process_drains(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process(writer, workers.API)
    monkeypatch.setattr("onward.jobs.leases.resident_bytes", lambda: 5_000_000_000)
    process.drains = True
    process.beat()
    assert (shown(writer, process).memory_bytes, shown(writer, process).draining) == (5_000_000_000, True)
    assert process.asked == 0, "it drains already"


def test_a_worker_learns_at_its_heartbeats_that_it_is_to_drain(writer: Writer) -> None:
    """No heartbeat takes the wish back, and others do not drain."""
    process, other = Process(writer, workers.WORKER), Process(writer, workers.WORKER)
    process.beat()
    assert process.asked == 0
    for _ in range(2):
        assert writer.run_sync(lambda tx: workers.drain(tx, process.lease.id)).draining
        process.beat()
    assert process.asked == 2, "until it drains"
    process.drains = True
    process.beat()
    other.beat()
    assert (process.asked, other.asked) == (2, 0)
    assert (shown(writer, process).draining, shown(writer, other).draining) == (True, False)


def test_a_process_that_would_not_end_by_itself_is_not_drained(writer: Writer) -> None:
    """One of an older release, which does not say what it is, would not learn of it."""
    writer.run_sync(lambda tx: tx.execute(_enter, id="older", beat=1, place="", name="o", started_at=1, **OLDER))
    ids = {role: Process(writer, role).lease.id for role in (workers.API, workers.DRAMATIQ, workers.ISOLATED)}
    for role, id_ in {**ids, "unknown": "older"}.items():
        with pytest.raises(WorkerRefused, match=f"the role of this one is {role}: stop the process itself") as refused:
            writer.run_sync(lambda tx, id_=id_: workers.drain(tx, id_))  # type: ignore[misc]
        assert (refused.value.worker.id, refused.value.worker.draining) == (id_, False)
    with pytest.raises(NotFound):
        writer.run_sync(lambda tx: workers.drain(tx, "runner_none"))
    assert not any(one.draining for one in writer.run_sync(workers.all_workers))
