"""Unique keys that another transaction has locked, on PostgreSQL: nothing waits but what needs them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
import sqlalchemy as sa

from onward.handlers.base import wait_for
from onward.jobs import claims, dispatched, ledger, recording, recovery, schedule_rows, uniqueness, waits
from onward.jobs.dispatched import Dispatched
from onward.jobs.model import Job, JobError, NewJob, UniqueKey
from onward.jobs.outcome import Outcome
from onward.jobs.schedule import LOCKED, Made, Schedule
from onward.jobs.schedule_entry import Entry
from onward.jobs.schedule_rows import Stored
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.maintenance.scheduler import DelayedJobs
from onward.storage.batches import FIRST_ROWS
from onward.storage.lock_order import ALONE
from onward.storage.tables import jobs, runners, schedule, schedules
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import OLDER, accept, new_job, writing
from tests.runners import Enqueuer

S = JobStatus
HELD, FREE, PLAIN = "test.held", "test.free", "test.plain"
YEARLY = "0 0 1 1 *"  # so that no tick comes but by `put_off`
KEY = UniqueKey("digest", ("scheduled", "queued", "running", "retrying", "waiting"))
take = partial(uniqueness.accept, insert=ledger.accept)


class UniqueNotices(Enqueuer):
    """Brings unique jobs of failures, one for each name of `on_failure`."""

    accept_undelivered = staticmethod(take)

    @staticmethod
    def prepare_on_failure(failed: Job, error: JobError) -> NewJob:  # noqa: ARG004
        return unique(failed.on_failure or "")


def unique(handler: str) -> NewJob:
    return replace(new_job(handler), unique=KEY)


@contextmanager
def locked_key(writer: Writer, within_s: float = 2.0) -> Iterator[Callable[[], object]]:
    """Hold the key of HELD, as the open transaction of a caller does, and roll back; the function does so before."""
    with closing(writer.database.connect()) as other:
        other.execute("BEGIN")
        taken = "INSERT INTO _ledger.uniques (handler, key, job, situations) VALUES (%s, %s, 'job_other', 'queued')"
        other.execute(writer.database.named(taken), (HELD, KEY.digest))
        began = time.monotonic()
        yield partial(other.execute, "ROLLBACK")
        assert time.monotonic() - began < within_s, "it has waited for the lock"
        other.execute("ROLLBACK")


ENTRIES = {
    new.handler: Entry.checked(new.handler, new, YEARLY, "UTC") for new in (unique(HELD), unique(FREE), new_job(PLAIN))
}


def restored(row: Stored) -> Entry:
    return ENTRIES[row.name]


def tick(writer: Writer, plan: Schedule) -> tuple[list[str], dict[str, str]]:
    """Return the handlers of the jobs that were made, and the problems."""

    async def all_made() -> list[Made]:
        return [made async for made in plan.tick(writer)]

    found = asyncio.run(all_made())
    problems = {name: problem for made in found for name, problem in made.problems.items()}
    return sorted(job.handler for made in found for job in made.jobs), problems


def come_due(writer: Writer) -> None:
    """Let all schedules be due."""

    def move(tx: Tx) -> None:
        tx.execute(sa.update(schedules).values(next_at=tx.now, look_at=tx.now))
        tx.execute(sa.update(schedule).values(next_at=tx.now))

    writer.run_sync(move, ALONE)


@pytest.mark.parametrize("stored", [False, True])
def test_a_tick_whose_key_is_locked_keeps_no_other_schedule_from_its_ticks(
    postgres_ledger: str,
    stored: bool,  # noqa: FBT001
) -> None:
    """The tick that waits for the key comes when the lock is gone."""
    with writing(postgres_ledger) as writer:
        plan = Schedule([] if stored else ENTRIES.values(), take, restored)
        for entry in ENTRIES.values() if stored else ():
            writer.run_sync(partial(schedule_rows.insert, entry=entry, by="root"), ALONE)
        assert tick(writer, plan) == ([], {})
        come_due(writer)
        with locked_key(writer):
            assert tick(writer, plan) == ([FREE, PLAIN], {HELD: LOCKED})
        come_due(writer)
        made, problems = tick(writer, plan)
        assert HELD in made
        assert problems == {}


def wait_that_ends(tx: Tx, on_failure: str, due_at: int = 1) -> Job:
    job = accept(tx, steps=("approval", "later"), on_failure=on_failure)
    claimed = claims.claim(tx, job.id, runner="one", worker="w", backend="here", isolated=False)
    assert claimed is not None
    outcome = Outcome(S.WAITING, wait=wait_for("approval", str, timeout=timedelta(seconds=1)))
    recording.record_outcome(tx, claimed, outcome, steps=claimed.steps)
    tx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(due_at=due_at))
    return job


def test_a_wait_that_fails_keeps_no_other_from_its_end_while_the_key_of_its_notice_is_locked(
    postgres_ledger: str,
) -> None:
    with writing(postgres_ledger) as writer:
        waiting = [writer.run_sync(partial(wait_that_ends, on_failure=name)) for name in (HELD, FREE, HELD)]
        end = partial(waits.end_due, limit=10, enqueuer=UniqueNotices())
        with locked_key(writer):
            assert {job.id: job.status for job in writer.run_sync(end)} == {
                waiting[0].id: S.WAITING,
                waiting[1].id: S.FAILED,
                waiting[2].id: S.WAITING,
            }
            left: list[str] = []
            one = partial(waits.end_due, limit=1, enqueuer=UniqueNotices(), exclude=left)
            for _ in range(2):
                left += [job.id for job in writer.run_sync(one)]
            assert set(left) == {waiting[0].id, waiting[2].id}
            assert writer.run_sync(one) == []
        assert {job.id for job in writer.run_sync(end)} == {waiting[0].id, waiting[2].id}
        assert handlers(writer) == [FREE, HELD]


class Notices(UniqueNotices):
    """Delivers nothing; what has ended is in `over`."""

    def __init__(self) -> None:
        self.over: list[str] = []

    def count_ended(self, over: list[Job]) -> None:
        self.over += [job.id for job in over]

    async def deliver(self, jobs: list[Job], **_: object) -> None: ...
    def defer(self) -> None: ...


def test_more_locked_waits_than_a_commit_ends_keep_no_later_one_from_its_end(postgres_ledger: str) -> None:
    """One look of the maintenance gets past them."""

    def begin(tx: Tx) -> Job:
        for _ in range(FIRST_ROWS + 10):
            wait_that_ends(tx, HELD)
        return wait_that_ends(tx, FREE, due_at=2)

    with writing(postgres_ledger) as writer:
        last, there = writer.run_sync(begin, ALONE), Notices()
        service = DelayedJobs(writer, cast("Any", there), Timings())
        with locked_key(writer):
            asyncio.run(service.run_once())
        assert there.over == [last.id]


def test_a_commit_that_is_run_again_leaves_the_same_waits(postgres_ledger: str) -> None:
    """The database has undone its first run."""
    with writing(postgres_ledger) as writer:
        held = writer.run_sync(partial(wait_that_ends, on_failure=HELD))
        service = DelayedJobs(writer, cast("Any", Notices()), Timings())
        with locked_key(writer):
            runs = writer.run_sync(lambda tx: [service._at_their_times(tx, 10) for _ in range(2)])
        assert runs == [([], [], [held.id])] * 2


def test_jobs_of_a_dead_process_go_on_while_the_key_of_a_notice_of_poison_is_locked(postgres_ledger: str) -> None:
    """The one whose failure waits for the key counts the crash when the lock is gone."""

    def crashed(tx: Tx, crashes: int, on_failure: str) -> str:
        job = accept(tx, on_failure=on_failure)
        tx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(deaths=crashes))
        assert claims.claim(tx, job.id, runner="one", worker="w", backend="here", isolated=crashes > 0) is not None
        return job.id

    with writing(postgres_ledger) as writer:
        enter = sa.insert(runners)
        writer.run_sync(lambda tx: tx.execute(enter, id="one", beat=1, place="", name="s", started_at=tx.now, **OLDER))
        last = claims.MAX_CRASHES
        ids = [
            writer.run_sync(partial(crashed, crashes=n, on_failure=name))
            for n, name in ((last, HELD), (last, FREE), (0, HELD))
        ]
        reclaim = partial(recovery.reclaim_dead, runner="one", enqueuer=UniqueNotices())
        with locked_key(writer):
            batch: recovery.Batch | None = recovery.Batch([], more=True)
            while batch is not None and batch.more:  # one by one: the locked one is the first
                batch = writer.run_sync(partial(reclaim, limit=1, beat=1, after=batch.last))
            assert batch is not None
            assert batch.left
            assert statuses(writer, ids) == [S.RUNNING, S.FAILED, S.QUEUED]
        writer.run_sync(partial(reclaim, beat=None))
        assert statuses(writer, ids) == [S.FAILED, S.FAILED, S.QUEUED]
        assert handlers(writer) == [FREE, HELD]


def expand(writer: Writer) -> list[str]:
    found: list[Job] = []
    asyncio.run(dispatched.expand_all(writer, take, found.extend, enqueuer=Enqueuer(), left=set()))
    return sorted(job.id for job in found)


def store(writer: Writer, news: list[NewJob]) -> None:
    """Store each job as a chunk of its own."""
    stored = [dispatched.encode_chunk([new]) for new in news]
    writer.run_sync(lambda tx: dispatched.accept(tx, Dispatched(stored=stored), ledger.accept))


def test_jobs_that_were_dispatched_go_on_while_the_key_of_one_of_them_is_locked(postgres_ledger: str) -> None:
    """Each chunk is of another step, and the locked one is tried again later."""
    with writing(postgres_ledger) as writer:
        ids = ("job_1", "job_2", "job_3")
        news = [new_job(PLAIN, id=ids[0]), replace(unique(HELD), id=ids[1]), replace(unique(FREE), id=ids[2])]
        store(writer, news)
        with locked_key(writer, within_s=3.0):
            assert expand(writer) == ["job_1", "job_3"]
        assert expand(writer) == ["job_2"]


def test_many_chunks_that_need_a_locked_key_do_not_hold_up_the_walk(postgres_ledger: str) -> None:
    """One step dispatches 1,000 jobs of one key: maintenance does nothing else during the walk."""
    with writing(postgres_ledger) as writer:
        store(writer, [replace(unique(HELD), id=f"job_{number:02}") for number in range(20)])
        store(writer, [new_job(PLAIN, id="job_20")])
        with locked_key(writer, within_s=4.0):
            assert expand(writer) == ["job_20"]
        assert expand(writer)[0] == "job_00"


def test_a_chunk_whose_key_is_locked_for_a_moment_is_accepted_in_the_same_walk(postgres_ledger: str) -> None:
    """Another process's commit holds the key for as long."""
    with writing(postgres_ledger) as writer:
        store(writer, [replace(unique(HELD), id="job_1"), new_job(PLAIN, id="job_2")])
        with locked_key(writer) as release:
            later = threading.Timer(0.2, release)
            later.start()
            assert expand(writer) == ["job_1", "job_2"]
            later.join()


def test_a_walk_comes_back_to_a_locked_chunk_however_long_the_others_took(
    postgres_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatched, "LOCKED_S", 0.2)
    with writing(postgres_ledger) as writer:
        store(writer, [replace(unique(HELD), id="job_1"), new_job(PLAIN, id="job_2")])
        found: list[str] = []
        with locked_key(writer) as release:

            def dispatch(accepted: list[Job]) -> None:
                found.extend(job.id for job in accepted)
                if found == ["job_2"] and accepted:
                    time.sleep(2 * dispatched.LOCKED_S)
                    release()

            asyncio.run(dispatched.expand_all(writer, take, dispatch, enqueuer=Enqueuer(), left=set()))
        assert found == ["job_2", "job_1"]


def test_chunks_behind_a_locked_one_are_accepted_together_again(postgres_ledger: str) -> None:
    with writing(postgres_ledger) as writer:
        store(writer, [replace(unique(HELD), id="job_1"), *(new_job(PLAIN, id=f"job_{n}") for n in (2, 3, 4))])
        expansion = dispatched._Expansion(writer, take, Enqueuer(), set(), 0)

        async def walk() -> list[list[str]]:
            found: list[list[str]] = []
            for _ in range(4):
                expansion.commits.limit = dispatched.MAX_AT_ONCE  # however long the commit before took
                found.append([job.id for job in await expansion.next() or ()])
            return found

        with locked_key(writer):
            assert asyncio.run(walk()) == [[], [], ["job_2"], ["job_3", "job_4"]]


def test_a_change_whose_connection_is_lost_is_made_by_the_next_one(postgres_ledger: str) -> None:
    pids: list[int] = []

    def change(tx: Tx) -> bool:
        pids.append(tx.execute_once(sa.text("SELECT pg_backend_pid()"))[0][0])
        if len(pids) == 1:
            tx.raw("SELECT pg_terminate_backend(pg_backend_pid())")
        return True

    with writing(postgres_ledger) as writer:
        assert writer.run_sync(lambda tx: tx.unless_locked(partial(change, tx)))
        assert len(set(pids)) == 2


def statuses(writer: Writer, ids: list[str]) -> list[JobStatus]:
    found = writer.run_sync(lambda tx: ledger.get_many(tx, ids))
    return [found[job_id].status for job_id in ids]


def handlers(writer: Writer) -> list[str]:
    """Return the handlers of the jobs that failures have brought."""
    brought = sa.select(jobs.c.handler).where(jobs.c.handler != "conformance.job").order_by(jobs.c.handler)
    return writer.run_sync(lambda tx: tx.scalars(brought))
