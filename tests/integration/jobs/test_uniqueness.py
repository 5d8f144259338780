"""One job of a handler holds a key at a time, whatever happens at the same moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from onward.jobs import claims, commands, dispatched, due, ledger, recording, uniqueness
from onward.jobs.base import Conflict, NotUnique
from onward.jobs.model import Job, JobFilter, NewJob, UniqueKey, Visible
from onward.jobs.outcome import Outcome
from onward.jobs.states import JobStatus
from onward.maintenance.cleaner import Cleaner, Retention
from onward.storage import lock_order
from onward.storage.lock_order import ALONE
from onward.storage.tables import jobs, uniques
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import new_job, pass_a_moment, route, writing

S = JobStatus
pytestmark = pytest.mark.anyio
ALL = Visible(everything=True)
IN_PROGRESS = ("scheduled", "queued", "running", "retrying", "waiting")
NOT_BEGUN = ("scheduled", "queued")
MINUTE_US = 60_000_000
_jobs = sa.select(sa.func.count()).select_from(jobs)
_keys = sa.select(sa.func.count()).select_from(uniques)
_wait = sa.update(jobs).where(ledger.ID).values(status=S.WAITING.value, attempt=1)
_age = sa.update(jobs).values(created_at=jobs.c.created_at - 5 * MINUTE_US)


def key(digest: str = "one", situations: tuple[str, ...] = IN_PROGRESS, **terms: Any) -> UniqueKey:
    return UniqueKey(digest, situations, **terms)


def new(digest: str = "one", situations: tuple[str, ...] = IN_PROGRESS, **given: Any) -> NewJob:
    """Return a job with a key; `params` is JSON, and other values are terms of the key."""
    values = {name: given.pop(name) for name in ("owner", "run_at", "id") if name in given}
    params = given.pop("params", "{}")
    return replace(new_job(**values), params=params, unique=key(digest, situations, **given))


async def accept(writer: Writer, wanted: NewJob) -> Job:
    return await writer.run(partial(uniqueness.accept, new=wanted, insert=ledger.accept), uniqueness.order(wanted))


async def accept_each(writer: Writer, wanted: list[NewJob]) -> list[Job]:
    order = uniqueness.order_of_many(wanted)
    return await writer.run(partial(uniqueness.accept_each, news=wanted, insert=ledger.accept), order)


def claimed(tx: Tx, job: Job) -> Job | None:
    return claims.claim(tx, job.id, runner="one", worker="w", backend="here", isolated=False)


def ended(tx: Tx, job: Job, status: JobStatus) -> None:
    running = claimed(tx, job)
    assert running is not None
    recording.record_outcome(tx, running, Outcome(status, result=None), steps=running.steps)


async def retried(writer: Writer, job: Job) -> Job:
    retry = partial(commands.retry, job_id=job.id, from_start=False, visible=ALL, route=route)
    return await writer.run(retry, ALONE)


async def count(writer: Writer, statement: sa.Select[Any]) -> int:
    return int(await writer.database.read(lambda tx: tx.scalar(statement)) or 0)


@pytest.mark.parametrize("replaces", [False, True])
async def test_a_job_that_is_there_keeps_its_time(writer: Writer, *, replaces: bool) -> None:
    """A later one counts with `debounce` alone."""
    first = await accept(writer, new(replaces=replaces))
    again = await accept(writer, new(replaces=replaces, run_at=first.created_at + MINUTE_US))
    assert (again.id, again.replayed, again.due_at, again.status) == (first.id, True, first.due_at, S.QUEUED)


async def test_a_second_job_with_the_key_is_the_first_one(writer: Writer) -> None:
    first = await accept(writer, new())
    again = await accept(writer, new())
    other = await accept(writer, new("two"))
    assert (first.replayed, again.replayed, other.replayed) == (False, True, False)
    assert (again.id, first.unique_key) == (first.id, "one")
    assert await count(writer, _jobs) == 2


async def test_a_job_without_a_key_costs_no_further_statement(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    run = Tx._run

    def noted(tx: Tx, statement: Any, params: dict[str, Any]) -> Any:
        seen.append(statement)
        return run(tx, statement, params)

    plain = new_job()

    def accepted(tx: Tx) -> Job:
        with monkeypatch.context() as patch:
            patch.setattr(Tx, "_run", noted)
            return uniqueness.accept(tx, plain, ledger.accept)

    await writer.run(accepted)
    assert seen == []


@pytest.mark.parametrize("situations", [*[(one,) for one in IN_PROGRESS], ("queued", "running"), IN_PROGRESS])
async def test_the_situation_of_the_first_decides(writer: Writer, situations: tuple[str, ...]) -> None:
    """A job that was interrupted and is in the queue again counts as running; a failed one never counts."""

    async def held(change: Any = None, run_at: int | None = None) -> bool:
        """Return whether a job still holds its key after the change."""
        digest = str(await count(writer, _jobs))
        first = await accept(writer, new(digest, situations, run_at=run_at))
        if change is not None:
            await writer.run(lambda tx: change(tx, first))
        return (await accept(writer, new(digest, situations))).id == first.id

    def interrupted(tx: Tx, job: Job) -> None:
        ended(tx, job, S.QUEUED)

    later = await writer.database.read(lambda tx: tx.now + MINUTE_US)
    assert await held(run_at=later) is ("scheduled" in situations)
    assert await held() is ("queued" in situations)
    assert await held(claimed) is ("running" in situations)
    assert await held(interrupted) is ("running" in situations or "retrying" in situations)
    assert await held(lambda tx, job: ended(tx, job, S.RETRYING)) is ("retrying" in situations)
    assert await held(lambda tx, job: tx.execute(_wait, id_=job.id)) is ("waiting" in situations)
    for status in (S.SUCCEEDED, S.FAILED, S.CANCELLED):
        assert await held(lambda tx, job, status=status: ended(tx, job, status)) is False


async def test_a_job_counts_for_a_time_after_its_acceptance_unless_it_failed(writer: Writer) -> None:
    within = partial(new, situations=(), within=MINUTE_US)
    first = await accept(writer, within())
    await writer.run(lambda tx: ended(tx, first, S.SUCCEEDED))
    assert (await accept(writer, within())).id == first.id
    await writer.run(lambda tx: tx.execute(sa.update(uniques).values(until=tx.now - 1)))
    assert (await accept(writer, within())).id != first.id
    failed = await accept(writer, within("two"))
    await writer.run(lambda tx: ended(tx, failed, S.FAILED))
    assert (await accept(writer, within("two"))).id != failed.id


async def test_a_job_that_has_not_begun_gets_the_new_parameters(writer: Writer) -> None:
    first = await accept(writer, new(situations=NOT_BEGUN, params='{"n":1}', replaces=True))
    again = await accept(writer, new(situations=NOT_BEGUN, params='{"n":2}', replaces=True))
    assert (again.id, again.params, again.version, again.replayed) == (first.id, {"n": 2}, first.version + 1, True)
    assert again.changed > first.changed
    await writer.run(lambda tx: claimed(tx, first))
    third = await accept(writer, new(situations=NOT_BEGUN, params='{"n":3}', replaces=True))
    assert (third.id != first.id, third.params) == (True, {"n": 3})


async def test_no_parameters_are_lost_to_a_claim_of_the_same_moment(writer: Writer, ledger_url: str) -> None:
    """Each set of parameters is that of a job which begins afterwards."""
    with writing(ledger_url) as other:
        for n in range(15):
            digest = f"k{n}"
            first = await accept(writer, new(digest, NOT_BEGUN, params='{"n":1}', replaces=True))
            running, second = await asyncio.gather(
                other.run(lambda tx, first=first: claimed(tx, first)),  # type: ignore[misc]
                accept(writer, new(digest, NOT_BEGUN, params='{"n":2}', replaces=True)),
            )
            assert running is not None
            if second.id == first.id:
                assert running.params == {"n": 2}
            else:
                assert (running.params, second.params) == ({"n": 1}, {"n": 2})


async def test_a_job_that_is_put_off_begins_at_its_bound_at_the_latest(writer: Writer) -> None:
    put_off = partial(new, situations=NOT_BEGUN, debounce=MINUTE_US, max_wait=3 * MINUTE_US)
    first = await accept(writer, put_off())
    assert (first.status, first.run_at, first.due_at - first.created_at) == (S.SCHEDULED, first.due_at, MINUTE_US)
    pass_a_moment()
    again = await accept(writer, put_off())
    assert again.id == first.id
    assert first.due_at < again.due_at <= first.created_at + 3 * MINUTE_US
    assert again.run_at == again.due_at
    await writer.run(lambda tx: tx.execute(_age))
    late = await accept(writer, put_off())
    assert (late.id, late.due_at) == (first.id, again.due_at), "its bound is over: it stays where it was"
    await writer.run(lambda tx: tx.execute(sa.update(jobs).values(due_at=tx.now)))
    await writer.run(lambda tx: due.promote_due(tx, 10, route=route))
    ready = await accept(writer, put_off())
    assert (ready.id, ready.status) == (first.id, S.QUEUED), "it is about to begin, and nothing puts it off"


async def test_a_job_that_is_put_off_may_get_new_parameters_too(writer: Writer) -> None:
    both = partial(new, situations=NOT_BEGUN, debounce=MINUTE_US, max_wait=3 * MINUTE_US, replaces=True)
    first = await accept(writer, both(params='{"n":1}'))
    pass_a_moment()
    again = await accept(writer, both(params='{"n":2}'))
    assert (again.id, again.params, again.version) == (first.id, {"n": 2}, first.version + 1)
    assert again.due_at > first.due_at


async def test_another_owner_s_job_is_never_changed_nor_given(writer: Writer) -> None:
    first = await accept(writer, new(owner="ada", params='{"n":1}', situations=NOT_BEGUN, replaces=True))
    again = await accept(writer, wanted := new(owner="bob", params='{"n":2}', situations=NOT_BEGUN, replaces=True))
    assert (again.id, again.params) == (first.id, {"n": 1})
    with pytest.raises(NotUnique):
        uniqueness.refuse_foreign(again, wanted)


async def test_of_several_at_once_the_first_holds_the_key(writer: Writer) -> None:
    """The ids come in the order of the requests, and equal keys have one."""
    found = await accept_each(writer, [new("b"), new("a"), new_job(), new("b"), new("a")])
    assert [job.replayed for job in found] == [False, False, False, True, True]
    assert [found[3].id, found[4].id] == [found[0].id, found[1].id]
    assert found[0].id < found[1].id < found[2].id


async def test_callers_that_meet_in_any_order_wait_for_each_other(postgres_ledger: str) -> None:
    """No two of them have to be ended by the database."""
    ended_by_the_database: list[BaseException] = []
    with writing(postgres_ledger) as one, writing(postgres_ledger) as two:
        for writer in (one, two):
            writer._connection.is_transient = ended_by_the_database.append  # type: ignore[assignment, method-assign]
        for n in range(10):
            situations, changes = (NOT_BEGUN, True) if n % 2 else (IN_PROGRESS, False)
            wanted = [new(f"{n}/{place}", situations, replaces=changes) for place in range(8)]
            await accept_each(one, wanted[2:6])
            there, back = await asyncio.gather(accept_each(one, wanted), accept_each(two, wanted[::-1]))
            assert [job.id for job in there] == [job.id for job in back][::-1]
        assert await count(one, _jobs) == 10 * 8
    assert ended_by_the_database == []


async def test_callers_and_runners_that_meet_wait_for_each_other(postgres_ledger: str) -> None:
    """Nobody waits for a key while it holds a job, also where a commit claims many of them."""
    ended_by_the_database: list[BaseException] = []
    with writing(postgres_ledger) as one, writing(postgres_ledger) as two:
        for writer in (one, two):
            writer._connection.is_transient = ended_by_the_database.append  # type: ignore[assignment, method-assign]
        for n in range(8):
            wanted = [new(f"{n}/{place}", NOT_BEGUN, replaces=True) for place in range(8)]
            there = await accept_each(one, wanted[::-1])
            claiming = [two.run(partial(claimed, job=job), lock_order.job(job.id)) for job in there]
            again, _, running = await asyncio.gather(
                accept_each(one, wanted), accept(two, new(f"{n}/0")), asyncio.gather(*claiming)
            )
            assert all(running)
            assert {job.id for job in again} & {job.id for job in there} == {job.id for job in again if job.replayed}
    assert ended_by_the_database == []


async def test_a_retry_is_refused_while_another_job_holds_the_key(writer: Writer) -> None:
    first = await accept(writer, new())
    await writer.run(lambda tx: ended(tx, first, S.FAILED))
    second = await accept(writer, new())
    with pytest.raises(Conflict, match=second.id):
        await retried(writer, first)
    await writer.run(lambda tx: ended(tx, second, S.CANCELLED))
    assert (await retried(writer, first)).status is S.QUEUED
    with pytest.raises(Conflict, match=first.id):
        await retried(writer, second)
    assert (await accept(writer, new())).id == first.id


async def test_a_retried_job_counts_for_its_time_though_another_one_has_had_its_key(writer: Writer) -> None:
    within = partial(new, within=MINUTE_US)
    first = await accept(writer, within())
    await writer.run(lambda tx: ended(tx, first, S.FAILED))
    second = await accept(writer, within())
    await writer.run(lambda tx: ended(tx, second, S.FAILED))
    again = await retried(writer, first)
    await writer.run(lambda tx: ended(tx, again, S.SUCCEEDED))
    assert (await accept(writer, within())).id == first.id
    assert await writer.database.read(lambda tx: tx.scalar(sa.select(uniques.c.until))) == first.created_at + MINUTE_US


async def test_who_may_not_see_the_other_job_does_not_learn_its_id(writer: Writer) -> None:
    first = await accept(writer, new(owner="ada"))
    await writer.run(lambda tx: ended(tx, first, S.FAILED))
    second = await accept(writer, new(owner="bob"))
    retry = partial(commands.retry, job_id=first.id, from_start=False, visible=Visible("ada"), route=route)
    with pytest.raises(Conflict, match="may not see") as refused:
        await writer.run(retry, ALONE)
    assert second.id not in str(refused.value)


async def test_a_bulk_retry_leaves_out_all_but_one_of_a_key(writer: Writer) -> None:
    failed = []
    for _ in range(3):
        failed.append(await accept(writer, new()))
        await writer.run(lambda tx: ended(tx, failed[-1], S.FAILED))

    def retry(tx: Tx) -> list[Job]:
        ids = commands.retryable(tx, filter=JobFilter(), limit=10, visible=ALL).ids
        return commands.retry_each(tx, ids, visible=ALL, route=route)

    assert [job.id for job in await writer.run(retry, ALONE)] == [failed[0].id]
    assert await writer.run(retry, ALONE) == []


async def test_many_dispatched_jobs_with_one_key_are_one(writer: Writer) -> None:
    """Chunks that are accepted later are no exception."""
    news = [new(id=f"job_{n:04}") for n in range(2 * dispatched.CHUNK)]
    insert = partial(uniqueness.accept, insert=ledger.accept)
    stored = await dispatched.encode(news)
    await writer.run(lambda tx: dispatched.accept(tx, stored, insert))
    while await writer.run(partial(dispatched.expand, insert=insert), ALONE):
        pass
    assert await count(writer, _jobs) == 1


async def test_the_key_of_a_deleted_job_is_deleted_with_it(writer: Writer) -> None:
    """The key of a newer job stays."""
    old = [await accept(writer, new(digest)) for digest in ("one", "two")]
    for job in old:
        await writer.run(lambda tx, job=job: ended(tx, job, S.SUCCEEDED))  # type: ignore[misc]
    newer = await accept(writer, new("two"))
    await writer.run(lambda tx: tx.execute(sa.update(jobs).values(finished_at=jobs.c.finished_at - MINUTE_US)))
    assert await Cleaner(writer, Retention(jobs=timedelta(seconds=30), keys=None)).prune() == 2
    assert await count(writer, _keys) == 1
    assert (await accept(writer, new("two"))).id == newer.id
    assert (await accept(writer, new("one"))).replayed is False
