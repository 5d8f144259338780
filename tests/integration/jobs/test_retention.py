"""Finished jobs are deleted by age, in small batches; unfinished ones never."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from onward.jobs import claims, idempotency, ledger, recording
from onward.jobs.model import Visible
from onward.jobs.outcome import Outcome
from onward.jobs.states import HELD, TERMINAL, JobStatus
from onward.maintenance import cleaner
from onward.maintenance.cleaner import Cleaner, Retention
from onward.storage.lock_order import ALONE
from onward.storage.tables import SLOTS, counts, jobs, marks
from onward.storage.tables import idempotency as keys
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept, writing

S = JobStatus
pytestmark = pytest.mark.anyio
DAY_US = 86_400_000_000
_age = sa.update(jobs).values(
    {name: jobs.c[name] - 10 * DAY_US for name in ("created_at", "due_at", "started_at", "finished_at")}
)


def finished(tx: Tx, status: JobStatus = S.SUCCEEDED, result: object = None, owner: str | None = None) -> None:
    end(tx, accept(tx, owner=owner).id, status, result)


def end(tx: Tx, job_id: str, status: JobStatus = S.SUCCEEDED, result: object = None) -> None:
    job = claims.claim(tx, job_id, runner="one", worker="w", backend="here", isolated=False)
    assert job is not None
    recording.record_outcome(tx, job, Outcome(status, result=result), steps=job.steps)


def _owners(writer: Writer) -> list[str]:
    return writer.run_sync(lambda tx: tx.scalars(sa.select(counts.c.owner).distinct()))


def counted(writer: Writer) -> dict[JobStatus, int]:
    found = writer.run_sync(lambda tx: ledger.counts(tx, visible=Visible(everything=True)))
    return {status: n for status, n in found.items() if n}


async def test_only_finished_jobs_that_are_old_enough_are_deleted(writer: Writer) -> None:
    """Unfinished jobs stay at any age, and the counters still equal a recount."""

    def one_of_each(tx: Tx) -> None:
        for status in JobStatus:
            job = accept(tx)
            values = {"status": status.value, "finished_at": tx.now if status in TERMINAL else None}
            tx.execute(_become, id_=job.id, runner_="one" if status in HELD else None, **values)
            tx.count(None, S.QUEUED, -1)
            tx.count(None, status, 1)

    await writer.run(one_of_each)
    await writer.run(lambda tx: tx.execute(_age))
    await writer.run(finished)
    assert await Cleaner(writer, Retention(jobs=timedelta(days=9), keys=None)).prune() == len(TERMINAL)
    assert counted(writer) == {**{status: 1 for status in JobStatus if status not in TERMINAL}, S.SUCCEEDED: 1}
    assert await Cleaner(writer, Retention(jobs=None, keys=None)).prune() == 0


async def test_other_writes_get_their_turn_between_batches(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutation that arrives during a long deletion is answered long before its end."""
    monkeypatch.setattr(cleaner, "JOBS", 5)
    for _ in range(60):
        await writer.run(finished)
    await writer.run(lambda tx: tx.execute(_age))
    pruning = asyncio.create_task(Cleaner(writer, Retention(jobs=timedelta(days=9), keys=None)).prune())
    left = 60
    while left == 60:
        await writer.run(accept)
        left = counted(writer).get(S.SUCCEEDED, 0)
    assert left > 0, "it was one batch"
    assert await pruning == 60
    assert S.SUCCEEDED not in counted(writer)


async def test_keys_are_deleted_by_their_own_age(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches delete keys until none is too old."""
    monkeypatch.setattr(cleaner, "ROWS", 2)

    def key(tx: Tx, n: int) -> object:
        return idempotency.replay(tx, viewer="", mutation="m", key=f"k{n}", fingerprint="f")

    for n in range(5):
        await writer.run(lambda tx, n=n: key(tx, n))  # type: ignore[misc]
    await Cleaner(writer, Retention(jobs=None, keys=timedelta(days=1))).prune()
    assert len(await writer.run(lambda tx: tx.all(_keys))) == 5
    await Cleaner(writer, Retention(jobs=None, keys=timedelta(0))).prune()
    assert await writer.run(lambda tx: tx.all(_keys)) == []


async def test_owners_whose_jobs_are_all_deleted_leave_no_counters(ledger_url: str) -> None:
    """Their jobs were accepted by one process and ended by another, each with counters of its own."""
    with writing(ledger_url) as writer, writing(ledger_url) as other:
        other._slot = (writer._slot + 1) % SLOTS
        for owner in ("ada", "bob", "cy"):
            job = await writer.run(partial(accept, owner=owner))
            await other.run(partial(end, job_id=job.id))
        await writer.run(lambda tx: tx.execute(_age))
        await writer.run(lambda tx: finished(tx, owner="bob"))
        assert set(_owners(writer)) == {"", "ada", "bob", "cy"}
        assert await Cleaner(writer, Retention(jobs=timedelta(days=9), keys=None)).prune() == 3
        assert set(_owners(writer)) == {"", "bob"}
        found = writer.run_sync(lambda tx: ledger.counts(tx, visible=Visible(owner="bob")))
        assert {status: n for status, n in found.items() if n} == {S.SUCCEEDED: 1}


async def test_owners_without_jobs_are_found_a_page_at_a_time(writer: Writer) -> None:
    owners = ["a", "b", "c", "d", "e"]
    for n in (1, -1):
        await writer.run(lambda tx, n=n: [tx.count(owner, S.QUEUED, n) for owner in owners])  # type: ignore[misc]
    await writer.run(lambda tx: accept(tx, owner="d"))
    pages: list[list[str]] = []
    after = ""
    for _ in range(3):
        idle, after = await writer.database.read(partial(ledger.idle_owners, after=after, limit=2))
        pages.append(idle)
    assert (pages, after) == ([["a", "b"], ["c"], ["e"]], "")


async def test_a_job_that_comes_before_its_owner_s_counters_are_deleted_is_counted(writer: Writer) -> None:
    for n in (1, -1):
        await writer.run(lambda tx, n=n: tx.count("ada", S.QUEUED, n))  # type: ignore[misc]
    idle, _ = await writer.database.read(partial(ledger.idle_owners, after="", limit=5))
    assert idle == ["ada"]
    await writer.run(lambda tx: accept(tx, owner="ada"))
    await writer.run(partial(ledger.forget_owners, owners=idle), ALONE)
    found = writer.run_sync(lambda tx: ledger.counts(tx, visible=Visible(owner="ada")))
    assert {status: n for status, n in found.items() if n} == {S.QUEUED: 1}


_become = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("id_"))
    .values(status=sa.bindparam("status"), finished_at=sa.bindparam("finished_at"), runner=sa.bindparam("runner_"))
)
_keys = sa.select(keys.c.key)


def pages(writer: Writer) -> int:
    return writer.run_sync(lambda tx: tx.scalar(sa.text("PRAGMA page_count"))) or 0


async def test_the_file_gives_back_what_was_deleted_a_piece_a_commit(
    sqlite_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece is a commit, other writes come in between, and a quarter of the file may stay empty."""
    monkeypatch.setattr(cleaner, "PAGES", 8)
    with writing(sqlite_ledger) as writer:
        for _ in range(40):
            await writer.run(lambda tx: finished(tx, result="x" * 20_000))
        await writer.run(lambda tx: tx.execute(_age))
        full = pages(writer)
        given: list[int] = []
        give_back = writer.database.driver.give_back_space

        def noted(tx: Tx, limit: int) -> int:
            given.append(give_back(tx, limit))
            return given[-1]

        monkeypatch.setattr(writer.database.driver, "give_back_space", noted)
        statements = len(writer.database.driver._statements)
        assert await Cleaner(writer, Retention(jobs=timedelta(days=9), keys=None)).prune() == 40
        assert pages(writer) < full / 2
        assert len(given) > 5
        assert len(writer.database.driver._statements) - statements < len(given), "a statement is kept for each piece"
    assert given[-1] == 0
    assert max(given) <= 8 < sum(given)


def test_marks_of_writers_that_are_gone_are_deleted_in_batches(writer: Writer) -> None:
    """Each command and each child process leaves one, on PostgreSQL."""
    before = writer.run_sync(lambda tx: tx.scalar(sa.select(sa.func.count()).select_from(marks)))
    old = [{"writer": f"old {n}", "mark": f"1000000000/{n}"} for n in range(3)]
    writer.run_sync(lambda tx: [tx.execute(sa.insert(marks), **one) for one in old])
    assert [writer.run_sync(lambda tx: cleaner._prune_marks(tx, 2)) for _ in range(3)] == [2, 1, 0]
    assert writer.run_sync(lambda tx: tx.scalar(sa.select(sa.func.count()).select_from(marks))) == before
