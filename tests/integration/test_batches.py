"""Batches that any code enqueues: without a session, with a key, and in a caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from onward import BatchConflict, InvalidParameters, JobRequest, KeyReused, NotFound, Onward, batch
from onward.backends.base import Role
from onward.config.settings import load
from onward.jobs import batches, dispatched, ledger
from onward.jobs.dispatched import CHUNK, Dispatched
from onward.jobs.options import Options
from onward.runtime import wiring
from onward.storage.engine import Database
from onward.testing import workload
from onward.testing.waiting import until
from tests.integration.test_enqueue import write_settings
from tests.integration.test_sessions import calling

LONG = timedelta(seconds=60)
KINDS = [
    pytest.param(kind, fixture, id=kind)
    for kind, fixture in (
        ("sqlite+pysqlite Session", "sqlite_ledger"),
        ("aiosqlite", "sqlite_ledger"),
        ("postgresql+asyncpg AsyncSession", "postgres_ledger"),
        ("psycopg", "postgres_ledger"),
        ("asyncpg", "postgres_ledger"),
    )
]


@pytest.fixture
def project(tmp_path: Path, ledger_url: str) -> Path:
    return write_settings(tmp_path, ledger_url)


@pytest.fixture
async def onward(project: Path) -> AsyncIterator[Onward]:
    async with Onward.from_settings(project) as opened:
        yield opened


def notes(folder: Path, count: int) -> list[JobRequest]:
    return [workload.noted.job(folder=str(folder), text=str(n)) for n in range(count)]


async def counted(ledger_url: str, sql: str) -> int:
    database = Database(ledger_url, embedded=True)
    try:
        return int(await database.read(lambda tx: tx.scalar(sa.text(sql))) or 0)
    finally:
        database.close()


async def test_a_batch_runs_and_is_followed(project: Path, tmp_path: Path) -> None:
    """A generator gives the children, and the process that enqueues makes jobs of them."""
    count = CHUNK * 5 + 1
    async with (
        wiring.run_process(load(tmp_path), Role.ACCEPT, embedded=True) as serving,
        Onward.from_settings(project) as onward,
    ):
        children = (workload.part.job(folder=str(tmp_path), number=number) for number in range(count))
        batch_id = await onward.enqueue(batch(children, then=workload.total.job(folder=str(tmp_path))), owner="ada")
        found: list[str | None] = []

        async def followed() -> bool:
            there = await serving.database.read(partial(batches.get, batch_id=batch_id))
            assert there is not None
            found[:] = [there.next_job]
            return there.done

        await until(followed, 60)
        assert await onward.result(str(found[0]), timeout=LONG) == [*range(count)]


async def test_the_same_key_gives_the_same_batch(onward: Onward, ledger_url: str, tmp_path: Path) -> None:
    """A key covers all children, their order, and how they are nested."""
    enqueue = partial(onward.enqueue, owner="ada", idempotency_key="k")
    many = CHUNK * 6
    first = await enqueue(batch(notes(tmp_path, many)))
    assert await enqueue(batch(iter(notes(tmp_path, many)))) == first
    for other in (
        batch(notes(tmp_path, many)[::-1]),
        batch(notes(tmp_path, many), stop=True),
        batch([*notes(tmp_path, many - 1), batch(notes(tmp_path, many)[-1:])]),
    ):
        with pytest.raises(KeyReused, match="the batch: the idempotency key 'k' was used before"):
            await enqueue(other)
    assert await counted(ledger_url, "SELECT count(*) FROM _ledger.batches") == 1

    async def all_made() -> bool:
        return await counted(ledger_url, "SELECT count(*) FROM _ledger.jobs") == many

    await until(all_made)
    left = "SELECT count(*) FROM _ledger.dispatched"
    await until(lambda: _none(ledger_url, left))


async def _none(ledger_url: str, sql: str) -> bool:
    return await counted(ledger_url, sql) == 0


async def test_unique_jobs_of_a_step_are_one_also_where_a_long_batch_is_enqueued(
    onward: Onward, ledger_url: str, tmp_path: Path
) -> None:
    """The process makes jobs of all chunks that are stored, whoever has stored them."""
    request = workload.unique.job(folder=str(tmp_path))
    await onward.enqueue(request)
    enqueuer = onward._open()
    new = replace(enqueuer._prepared(request, Options()), id=enqueuer._writer.database.ids.next("job", 1))
    step = Dispatched(stored=[dispatched.encode_chunk([new])], total=1)
    await enqueuer._writer.run(partial(dispatched.accept, children=step, insert=ledger.accept))
    await onward.enqueue(batch(notes(tmp_path, CHUNK * 6)))
    await until(lambda: _none(ledger_url, "SELECT count(*) FROM _ledger.dispatched"))
    of_the_step = "SELECT count(*) FROM _ledger.jobs WHERE handler = 'conformance.unique'"
    assert await counted(ledger_url, of_the_step) == 1


async def test_a_wrong_child_has_nothing_accepted(onward: Onward, ledger_url: str, tmp_path: Path) -> None:
    wrong = JobRequest("conformance.note", {"folder": 7})
    with pytest.raises(InvalidParameters, match=f"batch, child {CHUNK * 6}.folder: "):
        await onward.enqueue(batch([*notes(tmp_path, CHUNK * 6), wrong]))
    await until(lambda: _none(ledger_url, "SELECT count(*) FROM _ledger.dispatched"))
    with pytest.raises(InvalidParameters, match=r"batch, then: conformance\.unique has unique jobs"):
        await onward.enqueue(batch(notes(tmp_path, 1), then=workload.unique.job(folder="x")))
    assert await counted(ledger_url, "SELECT count(*) FROM _ledger.jobs") == 0


async def test_a_batch_is_cancelled_and_retried_by_its_id(onward: Onward, tmp_path: Path, ledger_url: str) -> None:
    batch_id = await onward.enqueue(batch(notes(tmp_path, 3)))
    with pytest.raises(BatchConflict, match="not over"):
        await onward.retry_batch(batch_id)
    await onward.cancel_batch(batch_id, reason="no more")
    assert await counted(ledger_url, "SELECT count(*) FROM _ledger.batches WHERE state = 'CANCELLING'") == 1
    with pytest.raises(NotFound, match="there is no batch 'batch_none'"):
        await onward.cancel_batch("batch_none")
    with pytest.raises(TypeError, match="batch_id must be a batch's id"):
        await onward.retry_batch(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "fixture"), KINDS)
async def test_a_batch_is_there_if_and_only_if_the_caller_commits(
    kind: str, fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The batch holds an empty one, which is followed at once, and most of its children are made later."""
    ledger_url: str = request.getfixturevalue(fixture)
    made = batch([*notes(tmp_path, CHUNK * 6), batch([], then=notes(tmp_path, 1)[0])], then=notes(tmp_path, 1)[0])
    tables = ("batches", "jobs", "dispatched")
    async with Onward.from_settings(write_settings(tmp_path, ledger_url)) as onward:
        async with calling(kind, ledger_url) as caller:
            await onward.enqueue(made, session=caller.session)
            await caller.rollback()
        for table in tables:
            assert await counted(ledger_url, f"SELECT count(*) FROM _ledger.{table}") == 0
        async with calling(kind, ledger_url) as caller:
            first = await onward.enqueue(made, session=caller.session, idempotency_key="k")
            assert await onward.enqueue(made, session=caller.session, idempotency_key="k") == first
            assert await counted(ledger_url, "SELECT count(*) FROM _ledger.batches") == 0
            await caller.commit()
    found = [await counted(ledger_url, f"SELECT count(*) FROM _ledger.{table}") for table in tables]
    assert found == [2, CHUNK + 1, 5]
