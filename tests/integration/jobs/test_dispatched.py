"""Many jobs of one step become rows in transactions of a bounded size, in any process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from onward.backends.base import Role
from onward.config.settings import load
from onward.jobs import dispatched, ledger
from onward.jobs.dispatched import Dispatched, Expander
from onward.jobs.model import Job, NewJob
from onward.jobs.states import JobStatus, StepStatus
from onward.jobs.timings import Timings
from onward.runtime import wiring
from onward.storage import migrate
from onward.storage.base import StorageError
from onward.storage.engine import Database
from onward.storage.lock_order import ROWS, LockOrder
from onward.storage.tables import dispatched as chunks
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.testing.waiting import until
from onward.testing.workload import notes
from tests.ledgers import writing
from tests.runners import Enqueuer

COUNT = 3 * dispatched.CHUNK + 1
HOUR_US = 3_600_000_000


def children(folder: Path, count: int = COUNT) -> list[NewJob]:
    params = f'{{"folder": "{folder}", "text": "child"}}'
    return [
        NewJob("conformance.note", "background", params, 1, '[{"n": "note"}]', 1, "ada", id=f"job_{n:06d}")
        for n in range(count)
    ]


async def store(writer: Writer, new: list[NewJob]) -> list[Job]:
    return await writer.run(partial(dispatched.accept, children=await dispatched.encode(new), insert=ledger.accept))


def rows(tx: Tx, table: sa.Table) -> int:
    return int(tx.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


async def test_no_transaction_accepts_more_than_a_chunk(writer: Writer, tmp_path: Path) -> None:
    new = children(tmp_path)
    first = await writer.run(partial(dispatched.accept, children=await dispatched.encode(new), insert=ledger.accept))
    assert [job.id for job in first] == [child.id for child in new[: dispatched.CHUNK]]
    accepted: list[Job] = list(first)
    sizes = []
    while found := await writer.run(partial(dispatched.expand, insert=ledger.accept)):
        sizes.append(len(found.jobs))
        accepted += found.jobs
    assert sizes == [dispatched.CHUNK, dispatched.CHUNK, 1]
    assert [job.id for job in accepted] == [child.id for child in new]
    assert {(job.owner, job.created_at) for job in accepted} == {("ada", first[0].created_at)}
    assert all(job.params == first[0].params for job in accepted)
    assert await writer.database.read(lambda tx: rows(tx, jobs)) == COUNT


async def test_a_chunk_is_left_for_a_while_to_the_process_that_wrote_it(writer: Writer, tmp_path: Path) -> None:
    await store(writer, children(tmp_path))
    assert not await writer.database.read(partial(dispatched.any_left, older_than_us=HOUR_US))
    assert await writer.run(partial(dispatched.expand, insert=ledger.accept, older_than_us=HOUR_US)) is None
    assert await writer.database.read(partial(dispatched.any_left, older_than_us=0))


class Killed(Exception):
    """The process ends here."""


async def test_a_crash_between_two_chunks_loses_no_job_and_doubles_none(ledger_url: str, tmp_path: Path) -> None:
    """After it two processes go on at once: the one that started again, and the leader."""
    new, found = children(tmp_path), list[Job]()
    expand = partial(dispatched.expand, insert=ledger.accept)

    def killed(tx: Tx) -> None:
        assert expand(tx) is not None
        raise Killed

    with writing(ledger_url) as dying:
        found += await store(dying, new)
        expanded = await dying.run(expand)
        assert expanded is not None
        found += expanded.jobs
        with pytest.raises(Killed):
            await dying.run(killed)
    with writing(ledger_url) as one, writing(ledger_url) as two:
        expand_all = partial(dispatched.expand_all, enqueuer=Enqueuer(), left=set())
        await asyncio.gather(*(expand_all(it, ledger.accept, found.extend) for it in (one, two)))
        there = await one.database.read(lambda tx: tx.scalars(sa.select(jobs.c.id).order_by(jobs.c.id)))
        assert await one.database.read(lambda tx: rows(tx, chunks)) == 0
    assert there == sorted(job.id for job in found) == [child.id for child in new]


async def test_a_chunk_written_at_the_last_look_of_an_expansion_is_expanded_too(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of another step is committed when nothing more was found, and before the task has ended."""
    enqueuer, new = Enqueuer(), children(tmp_path, 2 * COUNT)
    expander, run = Expander(writer, enqueuer), writer.run

    async def end_step(its: list[NewJob]) -> None:
        encoded = await dispatched.encode(its)
        expander.dispatch(await run(partial(expander.accept, children=encoded)), more=bool(encoded.stored))

    async def last_look(transaction: Callable[[Tx], Any], order: LockOrder = ROWS) -> Any:
        found = await run(transaction, order)
        if found is None:
            monkeypatch.setattr(writer, "run", run)
            await end_step(new[COUNT:])
        return found

    monkeypatch.setattr(writer, "run", last_look)
    await end_step(new[:COUNT])
    await until(lambda: len(enqueuer.dispatched) == len(new), 60)
    assert sorted(enqueuer.dispatched) == [child.id for child in new]
    expander.close()


async def test_maintenance_accepts_what_a_process_left_behind(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[handlers]\nmodules = ["onward.testing.workload"]\n')
    timings = Timings(delivery_grace_s=0.05, reconcile_interval_s=0.05)
    async with wiring.run_process(load(tmp_path), Role.ACCEPT, timings=timings) as running:
        new = children(tmp_path, dispatched.CHUNK + 5)
        await store(running.writer, new)
        await until(lambda: len(notes(tmp_path)) == len(new), 60)
    assert {note.job for note in notes(tmp_path)} == {child.id for child in new}


async def test_chunks_follow_the_present_settings_and_one_of_a_newer_release_delays_no_other(
    tmp_path: Path,
) -> None:
    """The backend has changed since the step ended, and a newer release may store more about a job."""
    (tmp_path / "settings.toml").write_text('[handlers]\nmodules = ["onward.testing.workload"]\n')
    timings = Timings(delivery_grace_s=0.05, reconcile_interval_s=0.05)
    async with wiring.run_process(load(tmp_path), Role.ACCEPT, timings=timings) as running:
        encoded = await dispatched.encode(
            [replace(child, backend="dramatiq") for child in children(tmp_path, 2 * dispatched.CHUNK)]
        )

        def write_down(tx: Tx) -> None:
            newer = {"id": "job_000000", "accepted_at": tx.now, "jobs": '[{"handler": "a.b", "of_tomorrow": 1}]'}
            tx.insert(sa.insert(chunks), {**newer, "batch": None})
            dispatched.accept(tx, Dispatched(stored=encoded.stored), ledger.accept)

        await running.writer.run(write_down)
        await until(lambda: len(notes(tmp_path)) == dispatched.CHUNK, 60)
        assert await running.database.read(lambda tx: rows(tx, chunks)) == 1


async def test_a_chunk_of_a_newer_release_is_warned_of_once(writer: Writer) -> None:
    """Every look finds it again, for as long as the newer release is not back."""
    left = set[str]()
    newer = {"id": "job_000000", "jobs": '[{"handler": "a.b", "of_tomorrow": 1}]', "batch": None}
    await writer.run(lambda tx: tx.insert(sa.insert(chunks), {**newer, "accepted_at": tx.now}))
    with capture_logs() as lines:
        for _ in range(3):
            await dispatched.expand_all(writer, ledger.accept, list[Job]().extend, left=left, enqueuer=Enqueuer())
    assert [line["id"] for line in lines] == ["job_000000"]


async def test_a_job_that_the_ledger_refuses_has_failed_and_its_neighbours_run(writer: Writer, tmp_path: Path) -> None:
    """Between others of its chunk; the job of `on_failure` comes with it."""
    new, wrong = children(tmp_path, 5 * dispatched.CHUNK), 3 * dispatched.CHUNK + 1
    new[wrong] = replace(new[wrong], priority=None, on_failure="conformance.job")  # type: ignore[arg-type]
    found, enqueuer = await store(writer, new), Enqueuer()
    with capture_logs() as lines:
        await dispatched.expand_all(writer, ledger.accept, found.extend, enqueuer=enqueuer, left=set())
    assert [line["job"] for line in lines if line["log_level"] == "error"] == [new[wrong].id]
    assert sorted(job.id for job in found) == [*(child.id for child in new), "job_notice"]
    there = await writer.database.read(lambda tx: ledger.get_many(tx, [job.id for job in found]))
    failed = there.pop(str(new[wrong].id))
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.error.retryable) == (JobStatus.FAILED, "NOT_ACCEPTED", False)
    assert (failed.params, failed.owner, failed.finished_at) == (
        {**failed.params, "text": "child"},
        "ada",
        failed.created_at,
    )
    assert [step.status for step in failed.steps] == [StepStatus.SKIPPED]
    assert there["job_notice"].params["job_id"] == failed.id
    assert {job.status for job in there.values()} == {JobStatus.QUEUED}
    assert await writer.database.read(lambda tx: rows(tx, chunks)) == 0


async def test_a_job_whose_parameters_are_refused_runs_with_no_others(writer: Writer, tmp_path: Path) -> None:
    (first, wrong) = children(tmp_path, 2)
    text = dispatched.encode_chunk([first, replace(wrong, params="{")])[1]
    await writer.run(
        lambda tx: tx.insert(sa.insert(chunks), {"id": first.id, "accepted_at": tx.now, "jobs": text, "batch": None})
    )
    found: list[Job] = []
    await dispatched.expand_all(writer, ledger.accept, found.extend, enqueuer=Enqueuer(), left=set())
    assert [(job.id, job.status) for job in found] == [
        (first.id, JobStatus.QUEUED),
        (wrong.id, JobStatus.FAILED),
    ]
    assert found[1].params == {"not accepted": None}


async def test_a_chunk_with_an_error_of_the_process_is_kept_and_delays_no_other(writer: Writer, tmp_path: Path) -> None:
    """Logged once, and tried again: the next release may know better."""
    new, wrong = children(tmp_path, 5 * dispatched.CHUNK), range(3 * dispatched.CHUNK, 4 * dispatched.CHUNK)
    found, left = await store(writer, new), set[str]()

    def insert(tx: Tx, child: NewJob) -> Job:
        if child.id == new[wrong[1]].id:
            raise KeyError(child.handler)
        return ledger.accept(tx, child)

    with capture_logs() as lines:
        for _ in range(2):
            await dispatched.expand_all(writer, insert, found.extend, enqueuer=Enqueuer(), left=left)
    assert [line["id"] for line in lines] == [new[wrong[0]].id]
    assert [job.id for job in found] == [child.id for n, child in enumerate(new) if n not in wrong]
    assert await writer.database.read(lambda tx: rows(tx, chunks)) == 1


async def test_the_tables_of_the_last_release_are_refused_while_a_chunk_is_there(
    sqlite_ledger: str, tmp_path: Path
) -> None:
    """The older release would lose the jobs."""
    database = Database(sqlite_ledger)
    writer = Writer(database)
    writer.start()
    await store(writer, children(tmp_path))
    writer.close()
    with pytest.raises(StorageError, match="start this release again"):
        migrate.go_back(database)
    assert await database.read(lambda tx: rows(tx, chunks)) == 3
    database.close()
