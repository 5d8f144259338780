"""Batches in the ledger: made as a whole or not at all, followed once, kept as long as they are needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from onward import BatchRequest, InvalidParameters, JobRequest, batch
from onward.handlers.results import ResultsParameter
from onward.jobs import batch_children, batch_keeper, batch_making, batches, commands, dispatched, ledger
from onward.jobs.base import BatchConflict, Conflict
from onward.jobs.batch_keeper import BatchKeeper
from onward.jobs.batch_making import Making, StagingLost
from onward.jobs.batch_results import results_of
from onward.jobs.batches import Batch, BatchState
from onward.jobs.dispatched import CHUNK
from onward.jobs.model import EVERYTHING, Job, NewJob
from onward.jobs.states import JobStatus
from onward.maintenance.batches import UnfinishedBatches
from onward.maintenance.cleaner import Cleaner, Retention
from onward.storage.base import Unavailable
from onward.storage.tables import batches as batch_rows
from onward.storage.tables import dispatched as chunks
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from tests.ledgers import locked, new_job, route, writing
from tests.runners import QUICK, Enqueuer, until

S = JobStatus
MANY = CHUNK * 3 + 10
DAY_US = 86_400_000_000
THEN = JobRequest("conformance.then", {})


def making(writer: Writer, request: BatchRequest) -> Making:
    ids = writer.database.ids

    def prepare(child: JobRequest) -> NewJob:
        if "wrong" in child.params:
            raise InvalidParameters([("wrong", "is wrong")])
        return new_job(child.handler, id=ids.next("job", 1_800_000_000_000))

    return Making(request, prepare=prepare, new_id=lambda kind: ids.next(kind, 1_800_000_000_000), owner="ada")


def children(count: int) -> list[JobRequest]:
    return [JobRequest("conformance.job", {})] * count


async def stage(writer: Writer, made: Making) -> None:
    for _ in made:
        pass
    while made.pending:
        await writer.run(partial(dispatched.stage, chunks=made.take(), batch_id=made.id))


async def accepted(writer: Writer, request: BatchRequest) -> Batch:
    made = making(writer, request)
    await stage(writer, made)
    await writer.run(partial(made.accept, insert=ledger.accept))
    return await there(writer, made.id)


async def there(writer: Writer, batch_id: str) -> Batch:
    found = await writer.database.read(partial(batches.get, batch_id=batch_id))
    assert found is not None
    return found


async def expand(writer: Writer) -> list[Job]:
    found: list[Job] = []
    await dispatched.expand_all(writer, ledger.accept, found.extend, enqueuer=Enqueuer(), left=set())
    return found


async def advance(writer: Writer, batch_id: str) -> list[Job]:
    return await writer.run(partial(batches.advance, batch_id=batch_id, accept=ledger.accept, route=route))


def rows(tx: Tx, table: sa.Table) -> int:
    return int(tx.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


async def end(writer: Writer, batch: Batch, status: JobStatus = S.SUCCEEDED) -> None:
    """End all children that are rows."""
    ended: dict[str, object] = {"status": status.value, "finished_at": jobs.c.created_at, "result": "7"}
    ended["changed"] = sa.bindparam("now_")
    statement = sa.update(jobs).where(jobs.c.batch == sa.bindparam("batch_"), jobs.c.finished_at.is_(None))
    await writer.run(lambda tx: tx.execute(statement.values(ended), batch_=batch.id, now_=tx.change))


async def test_a_batch_is_a_row_with_its_first_jobs_and_the_others_follow(writer: Writer) -> None:
    batch_ = await accepted(writer, batch(children(MANY), then=THEN))
    assert (batch_.total, batch_.jobs, batch_.made, batch_.state) == (MANY, MANY, CHUNK, BatchState.OPEN)
    assert await writer.database.read(lambda tx: batch_children.counts(tx, batch_)[S.QUEUED]) == MANY
    assert len(await expand(writer)) == MANY - CHUNK
    assert (await there(writer, batch_.id)).made == MANY
    positions = sa.select(jobs.c.position).where(jobs.c.batch == batch_.id).order_by(jobs.c.id)
    assert await writer.database.read(lambda tx: tx.scalars(positions)) == [*range(MANY)]


async def test_a_batch_that_is_retried_while_it_is_pruned_is_kept(postgres_ledger: str) -> None:
    """The deletion waits for the retry, and looks again."""
    with writing(postgres_ledger) as writer, closing(writer.database.connect()) as other:
        batch_ = await accepted(writer, batch(children(1)))
        finish = sa.update(batch_rows).values(state=BatchState.DONE.value, finished_at=1)
        await writer.run(lambda tx: tx.execute(finish))
        other.execute("BEGIN")
        other.execute(writer.database.named("UPDATE _ledger.batches SET state = 'RETRYING', finished_at = NULL"))
        pruning = asyncio.create_task(writer.run(lambda tx: batches.prune(tx, 10, before=2)))
        await asyncio.sleep(0.1)
        other.execute("COMMIT")
        assert await pruning == 0
        assert (await there(writer, batch_.id)).state is BatchState.RETRYING


async def test_a_locked_child_keeps_no_other_from_its_cancel(postgres_ledger: str) -> None:
    """The transaction of a caller who has sent it a signal may stay open, and the others would run meanwhile."""
    with writing(postgres_ledger, timeout_s=0.5) as writer:
        batch_ = await accepted(writer, batch(children(3)))
        ids = await writer.database.read(lambda tx: tx.scalars(sa.select(jobs.c.id).order_by(jobs.c.id)))
        await writer.run(lambda tx: tx.execute(sa.update(batch_rows).values(state=BatchState.CANCELLING.value)))
        cancel = partial(batches.cancel_children, limit=9, batch=await there(writer, batch_.id))
        found = await writer.database.read(partial(ledger.get_many, ids=ids))
        with locked(writer, found[ids[0]]):
            assert [job.id for job in await writer.run(cancel) or ()] == ids[1:]
            assert await writer.run(cancel) is None
        assert [job.id for job in await writer.run(cancel) or ()] == ids[:1]


async def test_no_batch_is_looked_at_again_for_as_long_as_a_transaction_of_others_is_open(postgres_ledger: str) -> None:
    """All jobs that have ended since its begin would be more and more."""
    with writing(postgres_ledger) as writer, closing(writer.database.connect()) as other:
        other.execute("BEGIN")
        number = other.execute("SELECT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)").fetchone()[0]
        batch_ = await accepted(writer, batch(children(2)))
        await end(writer, batch_)
        found, since = await writer.database.read(partial(batches.unattended, since=None))
        assert found == [batch_.id]
        again, since = await writer.database.read(partial(batches.unattended, since=since))
        assert again == []
        other.execute(writer.database.named("UPDATE _ledger.jobs SET changed = %s"), (number,))
        other.execute("COMMIT")
        assert (await writer.database.read(partial(batches.unattended, since=since)))[0] == found


@pytest.mark.parametrize("error", [Unavailable("away"), ValueError("of a release that is too old")])
async def test_the_leading_process_looks_until_a_batch_has_gone_on(
    writer: Writer, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in the ledger changes after the look that failed."""
    monkeypatch.setattr(batch_keeper, "ERROR_PAUSE_S", 0.2)
    keeper = BatchKeeper(writer, Enqueuer(), Metrics())
    service = UnfinishedBatches(writer, keeper, QUICK)
    batch_ = await accepted(writer, batch(children(2), then=THEN))
    await service.run_once()
    while keeper._tasks:  # its look is before the children's end
        await asyncio.sleep(0.005)
    await end(writer, batch_)
    run, failures = writer.run, [error, error]

    async def fails(*given: Any) -> Any:
        if failures:
            raise failures.pop()
        return await run(*given)

    monkeypatch.setattr(writer, "run", fails)
    deadline = time.monotonic() + 10
    while (await there(writer, batch_.id)).state is not BatchState.DONE:
        assert time.monotonic() < deadline
        await service.run_once()
        await asyncio.sleep(0.02)
    assert not failures


@pytest.mark.parametrize("column", ["on_success", "on_failure"])
async def test_a_batch_ends_though_the_ledger_refuses_the_job_that_follows(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    """The job has failed and brings that of its own failure, which is not delivered here; the outer batch counts it."""
    outer = batch([batch(children(1), then=THEN, on_failure=THEN)], then=THEN, on_failure=JobRequest("notice", {}))
    batch_ = await accepted(writer, outer)
    of_inner = sa.select(batch_rows.c.id).where(batch_rows.c.parent == batch_.id)
    (inner,) = await writer.database.read(lambda tx: tx.scalars(of_inner))
    values = orjson.dumps(
        {**dispatched.encoded(new_job(batch=batch_.id)), "priority": None, "on_failure": "test.notified"}
    )
    spoil = sa.update(batch_rows).where(batch_rows.c.id == inner).values({column: values.decode()})
    await writer.run(lambda tx: tx.execute(spoil))
    await end(writer, await there(writer, inner), S.SUCCEEDED if column == "on_success" else S.FAILED)
    enqueuer = Enqueuer()
    undelivered: list[str | None] = []

    def accept_undelivered(tx: Tx, new: NewJob) -> Job:
        undelivered.append(new.id)
        return ledger.accept(tx, new)

    monkeypatch.setattr(enqueuer, "accept_undelivered", accept_undelivered)
    keeper = BatchKeeper(writer, enqueuer, Metrics())
    with capture_logs() as lines:
        keeper.look(inner)
        await until(lambda: not keeper._tasks)
    over = await there(writer, inner)
    assert over.state is (BatchState.DONE if column == "on_success" else BatchState.STOPPED)
    found = await writer.database.read(lambda tx: ledger.get_many(tx, [over.next_job or "", "job_notice"]))
    refused = found[over.next_job or ""]
    assert refused.error is not None
    assert (refused.status, refused.error.code, refused.batch) == (S.FAILED, "NOT_ACCEPTED", batch_.id)
    assert found["job_notice"].params["job_id"] == refused.id
    assert [line["job"] for line in lines if line["log_level"] == "error"] == [refused.id]
    assert over.next_job in enqueuer.dispatched
    assert undelivered == ["job_notice"]
    holds = await there(writer, batch_.id)
    assert holds.state is BatchState.STOPPED
    assert (await writer.run(partial(batches.retry, batch_id=inner, visible=EVERYTHING))).state is BatchState.RETRYING


async def test_a_crash_while_a_batch_is_made_leaves_nothing_that_counts(writer: Writer) -> None:
    """Made again, it is there once; what was staged before is deleted after a day."""
    dead = making(writer, batch(children(MANY)))
    await stage(writer, dead)
    assert await expand(writer) == []
    batch_ = await accepted(writer, batch(children(MANY)))
    assert len(await expand(writer)) == MANY - CHUNK
    assert await writer.database.read(lambda tx: (rows(tx, jobs), rows(tx, chunks))) == (MANY, 3)
    assert (await there(writer, batch_.id)).made == MANY
    await Cleaner(writer, Retention(None, None)).prune()
    assert await writer.database.read(lambda tx: rows(tx, chunks)) == 3, "its ids are of this hour"
    assert await writer.run(lambda tx: dispatched.forget_staged(tx, 10, before="job_z")) == 3
    with pytest.raises(StagingLost):
        await writer.run(partial(dead.accept, insert=ledger.accept))


async def test_a_batch_is_over_when_all_children_are_made_and_have_ended(writer: Writer) -> None:
    batch_ = await accepted(writer, batch(children(MANY), then=THEN))
    await end(writer, batch_)
    assert await advance(writer, batch_.id) == []
    await expand(writer)
    assert await advance(writer, batch_.id) == []
    await end(writer, batch_)
    (follower,) = await advance(writer, batch_.id)
    assert (follower.handler, follower.owner, follower.batch) == ("conformance.then", None, None)
    assert await advance(writer, batch_.id) == []
    over = await there(writer, batch_.id)
    assert (over.state, over.next_job, over.finished_at) == (BatchState.DONE, follower.id, follower.created_at)


@pytest.mark.parametrize("stop", [False, True])
async def test_a_child_that_can_never_become_a_job_has_failed_and_the_batch_ends(writer: Writer, *, stop: bool) -> None:
    """The results have it at its place, the policy of the batch applies, and what follows comes once."""
    notice = JobRequest("conformance.notice", {}) if stop else None
    batch_ = await accepted(writer, batch(children(MANY), then=THEN, on_failure=notice))
    wrong = CHUNK + 7

    def spoil(tx: Tx) -> None:
        id_, text = tx.all(sa.select(chunks.c.id, chunks.c.jobs).order_by(chunks.c.id))[0]
        new = orjson.loads(text)
        new[7]["priority"] = None
        tx.execute(sa.update(chunks).where(chunks.c.id == id_).values(jobs=orjson.dumps(new).decode()))

    await writer.run(spoil)
    await expand(writer)
    batch_ = await there(writer, batch_.id)
    assert batch_.made == MANY
    if stop:
        assert await advance(writer, batch_.id) == []
        assert (await there(writer, batch_.id)).state is BatchState.STOPPING
    await end(writer, batch_)
    (follower,) = await advance(writer, batch_.id)
    assert follower.handler == ("conformance.notice" if stop else "conformance.then")
    assert await advance(writer, batch_.id) == []
    page = await writer.database.read(partial(batch_children.results, batch=batch_, after=wrong - 1))
    assert [(position, child.status) for position, child in page[:2]] == [(wrong, "FAILED"), (wrong + 1, "SUCCEEDED")]
    assert page[0][1].error is not None
    assert page[0][1].error.code == "NOT_ACCEPTED"


async def test_of_two_processes_that_see_the_last_end_one_accepts_what_follows(ledger_url: str) -> None:
    with writing(ledger_url) as one, writing(ledger_url) as two:
        for _ in range(5):
            batch_ = await accepted(one, batch(children(3), then=THEN))
            await end(one, batch_)
            found = await asyncio.gather(*(advance(writer, batch_.id) for writer in (one, two, one, two)))
            assert sum(map(len, found)) == 1


async def test_many_ends_at_once_in_two_processes_are_followed_once(ledger_url: str) -> None:
    """Each child ends in a commit of one of two processes, which looks afterwards."""
    with writing(ledger_url) as one, writing(ledger_url) as two:
        batch_ = await accepted(one, batch(children(40), then=THEN))
        ids = await one.database.read(lambda tx: tx.scalars(sa.select(jobs.c.id).where(jobs.c.batch == batch_.id)))

        async def ended(number: int, job_id: str) -> list[Job]:
            writer = (one, two)[number % 2]
            await writer.run(lambda tx: commands.cancel(tx, job_id, reason=None, visible=EVERYTHING))
            _, to = await writer.database.read(partial(batches.look, batch_id=batch_.id))
            return [] if to is None else await advance(writer, batch_.id)

        found = await asyncio.gather(*(ended(number, job_id) for number, job_id in enumerate(ids)))
        assert sum(map(len, found)) == 1


async def test_children_that_are_made_after_a_stop_are_cancelled(writer: Writer) -> None:
    batch_ = await accepted(writer, batch(children(MANY), then=THEN, on_failure=THEN))
    await end(writer, batch_, S.FAILED)
    await advance(writer, batch_.id)
    assert (await there(writer, batch_.id)).state is BatchState.STOPPING
    assert {job.status for job in await expand(writer)} == {S.CANCELLED}
    assert len(await advance(writer, batch_.id)) == 1
    assert (await there(writer, batch_.id)).state is BatchState.STOPPED


async def test_results_are_read_in_order_a_page_at_a_time(writer: Writer) -> None:
    """Children of all statuses are among them, and a batch in the batch."""
    request = batch([*children(MANY), batch(children(1)), *children(2)])
    batch_ = await accepted(writer, request)
    await expand(writer)
    await end(writer, batch_)
    some = sa.update(jobs).where(jobs.c.batch == batch_.id, jobs.c.position % 3 == 0).values(status="FAILED")
    await writer.run(lambda tx: tx.execute(some))
    after, found = -1, []
    while page := await writer.database.read(partial(batch_children.results, batch=batch_, after=after)):
        assert len(page) <= batch_children.PAGE
        after = page[-1][0]
        found += page
    assert [position for position, _ in found] == [*range(MANY + 3)]
    assert {child.status for position, child in found if position % 3 == 0 and position != MANY} == {"FAILED"}
    assert found[MANY][1].id.startswith("batch_")


async def test_a_job_that_follows_no_batch_has_no_results(writer: Writer) -> None:
    job = await writer.run(lambda tx: ledger.accept(tx, new_job("conformance.total")))
    found = await results_of(writer.database, job, ResultsParameter(None))
    assert (found.total, [child async for child in found]) == (0, [])


def raising() -> Iterator[JobRequest]:
    yield from children(MANY)
    raise LookupError("the source is gone")


async def test_a_wrong_child_is_refused_with_its_place(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = JobRequest("conformance.job", {"wrong": 1})
    with pytest.raises(InvalidParameters, match=r"batch, child 1\.wrong: is wrong"):
        list(making(writer, batch([*children(1), wrong])))
    with pytest.raises(InvalidParameters, match=r"batch, then\.wrong: is wrong"):
        list(making(writer, batch([], then=wrong)))
    with pytest.raises(TypeError, match="child 1 must be a job"):
        list(making(writer, batch([*children(1), "x"])))  # type: ignore[list-item]
    with pytest.raises(LookupError):
        list(making(writer, batch(raising())))
    monkeypatch.setattr(batch_making, "MAX_CHILDREN", 3)
    with pytest.raises(ValueError, match="at most 3 children"):
        list(making(writer, batch([*children(2), batch(children(1))])))
    monkeypatch.setattr(batch_making, "MAX_BATCHES", 2)
    with pytest.raises(ValueError, match="at most 2 batches"):
        list(making(writer, batch([batch([]), batch([]), batch([])])))
    with pytest.raises(ValueError, match="at most 2 batches"):
        list(making(writer, batch([batch([batch([batch([])])])])))
    list(making(writer, batch([batch([]), batch([])])))
    list(making(writer, batch([batch([batch([])])])))
    monkeypatch.setattr(batch_making, "MAX_DEPTH", 1)
    with pytest.raises(ValueError, match="1 deep"):
        list(making(writer, batch([batch([])])))


async def test_only_a_batch_with_something_to_retry_is_retried(writer: Writer) -> None:
    batch_ = await accepted(writer, batch(children(2), then=THEN))
    retry = partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING)
    with pytest.raises(BatchConflict, match="not over"):
        await writer.run(retry)
    await end(writer, batch_)
    (follower,) = await advance(writer, batch_.id)
    with pytest.raises(BatchConflict, match="is not over: wait for it"):
        await writer.run(retry)
    await writer.run(lambda tx: commands.cancel(tx, follower.id, reason=None, visible=EVERYTHING))
    assert (await writer.run(retry)).state is BatchState.RETRYING
    await writer.run(partial(batches.reopen, batch_id=batch_.id))
    (again,) = await advance(writer, batch_.id)
    assert (again.id, again.run, again.status) == (follower.id, 2, S.QUEUED)
    alone = await accepted(writer, batch(children(1)))
    await end(writer, alone)
    await advance(writer, alone.id)
    with pytest.raises(BatchConflict, match="nothing in the batch has failed"):
        await writer.run(partial(batches.retry, batch_id=alone.id, visible=EVERYTHING))
    with pytest.raises(BatchConflict, match="over already"):
        await writer.run(partial(batches.cancel, batch_id=alone.id, reason=None, visible=EVERYTHING))


def retried_meanwhile(tx: Tx, job_id: str) -> None:
    """Retry the job as a transaction does that has read its batch before that was retried, and ends after it."""
    assert commands.rerun(tx, job_id, route=route) is not None


async def retried_alone(writer: Writer, batch_: Batch) -> None:
    """Retry each failed child as a single job, and have it succeed."""
    failed = sa.select(jobs.c.id).where(jobs.c.batch == batch_.id, jobs.c.status == "FAILED")
    for job_id in await writer.database.read(lambda tx: tx.scalars(failed)):
        retry = partial(commands.retry, job_id=job_id, from_start=False, visible=EVERYTHING, route=route)
        await writer.run(retry)
    await end(writer, batch_)


@pytest.mark.parametrize("state", [BatchState.STOPPED, BatchState.CANCELLED])
async def test_a_batch_that_did_not_go_on_can_also_when_nothing_in_it_is_failed_any_more(
    ledger_url: str, state: BatchState
) -> None:
    """A batch does not go on by itself; of several who retry it at once one has it go on, and `then` follows once."""
    with writing(ledger_url) as one, writing(ledger_url) as two:
        batch_ = await accepted(one, batch(children(2), then=THEN, stop=True))
        if state is BatchState.STOPPED:
            await end(one, batch_, S.FAILED)
            assert await advance(one, batch_.id) == []
            await retried_alone(one, batch_)
        else:
            await one.run(partial(batches.cancel, batch_id=batch_.id, reason=None, visible=EVERYTHING))
            await end(one, batch_)
        assert await advance(one, batch_.id) == []
        assert (await there(one, batch_.id)).state is state

        retries = [writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING)) for writer in (one, two)]
        found = await asyncio.gather(*retries, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in found) == ["Batch", "BatchConflict"]
        await one.run(partial(batches.reopen, batch_id=batch_.id))
        followers = await asyncio.gather(*(advance(writer, batch_.id) for writer in (one, two)))
        assert [job.handler for some in followers for job in some] == ["conformance.then"]
        assert (await there(one, batch_.id)).state is BatchState.DONE


async def test_a_stopped_batch_is_retried_while_its_child_that_was_retried_alone_runs(writer: Writer) -> None:
    batch_ = await accepted(writer, batch(children(1), then=THEN, stop=True))
    await end(writer, batch_, S.FAILED)
    await advance(writer, batch_.id)
    (child,) = await writer.database.read(lambda tx: tx.scalars(sa.select(jobs.c.id)))
    await writer.run(partial(commands.retry, job_id=child, from_start=False, visible=EVERYTHING, route=route))
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    await writer.run(partial(batches.reopen, batch_id=batch_.id))
    assert await advance(writer, batch_.id) == []
    await end(writer, batch_)
    assert len(await advance(writer, batch_.id)) == 1


async def test_a_child_that_is_retried_as_its_batch_is_judged_is_open_or_failed(postgres_ledger: str) -> None:
    """The retry is committed after the first statement of the look: `then` must not follow while the child waits."""
    with writing(postgres_ledger) as writer, writing(postgres_ledger) as other:
        batch_ = await accepted(writer, batch(children(1), then=THEN, stop=True))
        await end(writer, batch_, S.FAILED)
        (child,) = await writer.database.read(lambda tx: tx.scalars(sa.select(jobs.c.id)))
        retries = [partial(commands.retry, job_id=child, from_start=False, visible=EVERYTHING, route=route)]

        def judged(tx: Tx) -> BatchState | None:
            run = tx._run

            def run_and_retry(statement: Any, params: dict[str, Any]) -> Any:
                found = run(statement, params)
                while retries:
                    other.run_sync(retries.pop())
                return found

            tx._run = run_and_retry  # type: ignore[method-assign]
            return batches.verdict(tx, batch_)

        assert await writer.run(judged) is BatchState.STOPPED
        assert retries == []
        assert await advance(writer, batch_.id) == []


async def test_what_followed_before_a_batch_was_cancelled_is_not_run_a_second_time(writer: Writer) -> None:
    """`then` failed, the batch is retried, `then` is retried by hand beside it and succeeds, the batch is cancelled."""
    batch_ = await accepted(writer, batch(children(1), then=THEN))
    await end(writer, batch_, S.FAILED)
    (follower,) = await advance(writer, batch_.id)
    retry = partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING)
    await writer.run(lambda tx: commands.cancel(tx, follower.id, reason=None, visible=EVERYTHING))
    await writer.run(retry)
    await writer.run(partial(retried_meanwhile, job_id=follower.id))
    succeed = sa.update(jobs).where(jobs.c.id == follower.id).values(status="SUCCEEDED", finished_at=jobs.c.created_at)
    await writer.run(lambda tx: tx.execute(succeed))
    await writer.run(partial(batches.cancel, batch_id=batch_.id, reason=None, visible=EVERYTHING))
    assert await advance(writer, batch_.id) == []
    assert (await there(writer, batch_.id)).state is BatchState.CANCELLED
    with pytest.raises(BatchConflict, match="the job that follows the batch is SUCCEEDED"):
        await writer.run(retry)


async def test_a_job_that_follows_and_is_retried_by_hand_meanwhile_is_not_doubled(writer: Writer) -> None:
    batch_ = await accepted(writer, batch(children(2), then=THEN))
    await end(writer, batch_)
    (follower,) = await advance(writer, batch_.id)
    await writer.run(lambda tx: commands.cancel(tx, follower.id, reason=None, visible=EVERYTHING))
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    await writer.run(partial(retried_meanwhile, job_id=follower.id))
    await writer.run(partial(batches.reopen, batch_id=batch_.id))
    assert await advance(writer, batch_.id) == []
    found = await there(writer, batch_.id)
    assert (found.state, found.next_job) == (BatchState.DONE, follower.id)


@pytest.mark.parametrize("waits", [True, False], ids=["children wait", "children to be retried"])
async def test_a_job_that_follows_a_batch_is_retried_by_the_batch_alone(writer: Writer, *, waits: bool) -> None:
    """Before the children are over nobody else does; once the batch is being cancelled, it is a job as any other."""
    batch_ = await accepted(writer, batch(children(2), then=THEN))
    await end(writer, batch_, S.FAILED)
    (follower,) = await advance(writer, batch_.id)
    await writer.run(lambda tx: commands.cancel(tx, follower.id, reason=None, visible=EVERYTHING))
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    if waits:
        retry = partial(batches.retry_children, limit=9, batch_id=batch_.id, status=S.FAILED, after=-1, route=route)
        assert len((await writer.run(retry)).jobs) == 2
        await writer.run(partial(batches.reopen, batch_id=batch_.id))
    each = partial(commands.retry_each, ids=[follower.id], visible=EVERYTHING, route=route)
    one = partial(commands.retry, job_id=follower.id, from_start=True, visible=EVERYTHING, route=route)
    assert await writer.run(each) == []
    with pytest.raises(Conflict, match="the batch that it follows is being retried, and runs it then"):
        await writer.run(one)
    await writer.run(partial(batches.cancel, batch_id=batch_.id, reason=None, visible=EVERYTHING))
    assert (await writer.run(one)).status is S.QUEUED


async def test_a_batch_is_not_retried_while_what_follows_its_stop_reads_it(writer: Writer) -> None:
    batch_ = await accepted(writer, batch(children(2), on_failure=THEN))
    await end(writer, batch_, S.FAILED)
    (follower,) = await advance(writer, batch_.id)
    with pytest.raises(BatchConflict, match="is not over: wait for it"):
        await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    followed = await writer.database.read(partial(batches.followed, job_id=follower.id))
    assert followed is not None
    assert followed.total == 2


async def test_a_child_that_fails_again_is_not_retried_by_whoever_comes_later(writer: Writer) -> None:
    batch_ = await accepted(writer, batch(children(2), then=THEN))
    await end(writer, batch_, S.FAILED)
    (follower,) = await advance(writer, batch_.id)
    await writer.run(lambda tx: commands.cancel(tx, follower.id, reason=None, visible=EVERYTHING))
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    retry = partial(batches.retry_children, limit=9, batch_id=batch_.id, status=S.FAILED, after=-1, route=route)
    assert len((await writer.run(retry)).jobs) == 2
    await end(writer, batch_, S.FAILED)
    assert await writer.run(retry) == batches.Retried([], None)


async def set_finished(writer: Writer, *conditions: sa.ColumnElement[bool], days: int) -> None:
    """Have the jobs ended so many days ago."""
    statement = sa.update(jobs).where(*conditions, jobs.c.finished_at.is_not(None))
    at = sa.bindparam("at_", type_=sa.BigInteger)
    await writer.run(lambda tx: tx.execute(statement.values(finished_at=at), at_=tx.now - days * DAY_US))


async def test_children_are_kept_as_long_as_what_holds_and_follows_them(writer: Writer) -> None:
    """The inner batch, too, can be retried with the outer one, and what follows may be retried by hand."""
    cleaner = Cleaner(writer, Retention(timedelta(days=9), None))
    batch_ = await accepted(writer, batch([*children(2), batch(children(1))], then=THEN))
    nested = sa.text("SELECT id FROM _ledger.batches WHERE parent IS NOT NULL")
    inner = await there(writer, str(await writer.database.read(lambda tx: tx.scalar(nested))))
    ended_long_ago = sa.update(batch_rows).values(finished_at=sa.bindparam("at_", type_=sa.BigInteger))

    await end(writer, inner, S.FAILED)
    await advance(writer, inner.id)
    await set_finished(writer, jobs.c.batch == inner.id, days=20)
    await writer.run(lambda tx: tx.execute(ended_long_ago.where(batch_rows.c.id == inner.id), at_=tx.now - 20 * DAY_US))
    assert await cleaner.prune() == 0, "the outer batch goes on"
    await end(writer, batch_)
    (follower,) = await advance(writer, batch_.id)
    await set_finished(writer, jobs.c.batch == batch_.id, days=20)
    await writer.run(lambda tx: tx.execute(ended_long_ago, at_=tx.now - 20 * DAY_US))
    assert await cleaner.prune() == 0, "what follows is not over"
    await writer.run(lambda tx: commands.cancel(tx, follower.id, reason=None, visible=EVERYTHING))
    assert await cleaner.prune() == 0, "what follows may be retried, and reads the results again"
    await set_finished(writer, jobs.c.id == follower.id, days=20)
    assert await cleaner.prune() == 4
    assert await writer.database.read(lambda tx: (rows(tx, jobs), rows(tx, batch_rows))) == (0, 0)


async def test_the_jobs_that_a_retry_queues_again_are_counted_in_batches_of_the_batch_too(writer: Writer) -> None:
    """One whose `then` has succeeded is left, whatever has failed in it."""
    inner = [batch([batch(children(3))]), batch(children(4)), batch(children(8)), batch(children(16))]
    batch_ = await accepted(writer, batch([*children(2), *inner]))
    stop = sa.update(batch_rows).values(state="STOPPED", finished_at=batch_rows.c.created_at)
    of = sa.update(batch_rows).values(state="DONE")
    thens = {total: await writer.run(lambda tx: ledger.accept(tx, new_job())) for total in (8, 16)}
    await writer.run(lambda tx: (tx.execute(stop), tx.execute(of.where(batch_rows.c.total == 4))))
    for total, then in thens.items():
        followed = of.values(next_job=then.id).where(batch_rows.c.total == total)
        await writer.run(lambda tx, followed=followed: tx.execute(followed))  # type: ignore[misc]
    await writer.run(lambda tx: tx.execute(sa.update(jobs).values(status="FAILED")))
    succeed = sa.update(jobs).values(status="SUCCEEDED").where(jobs.c.id == thens[16].id)
    await writer.run(lambda tx: tx.execute(succeed))
    counted = partial(batch_children.count_retried, batch_id=batch_.id)
    assert await writer.database.read(lambda tx: (counted(tx, most=100), counted(tx, most=4))) == (2 + 3 + 4 + 8, 4)


async def inner_of(writer: Writer, batch_: Batch) -> list[Batch]:
    """Return the batches in the batch, by their positions."""
    ids = sa.select(batch_rows.c.id).where(batch_rows.c.parent == batch_.id).order_by(batch_rows.c.position)
    return [await there(writer, one) for one in await writer.database.read(lambda tx: tx.scalars(ids))]


async def with_status(writer: Writer, batch_: Batch, status: JobStatus) -> list[str]:
    """Return the ids of the children in that status, in the order of the batch."""
    ids = sa.select(jobs.c.id).where(jobs.c.batch == batch_.id, jobs.c.status == status.value)
    return await writer.database.read(lambda tx: tx.scalars(ids.order_by(jobs.c.position)))


async def end_one(writer: Writer, job_id: str, status: JobStatus) -> None:
    ended = sa.update(jobs).where(jobs.c.id == job_id).values(status=status.value, finished_at=jobs.c.created_at)
    await writer.run(lambda tx: tx.execute(ended.values(changed=sa.bindparam("now_")), now_=tx.change))


def keeping(writer: Writer) -> BatchKeeper:
    """Return a keeper that accepts and delivers nothing by itself, on any look."""
    return BatchKeeper(writer, Enqueuer(), Metrics())


async def kept(keeper: BatchKeeper, batch_: Batch) -> None:
    keeper.look(batch_.id)
    await until(lambda: not keeper._tasks)


async def test_a_retry_reaches_what_failed_in_batches_that_are_over_by_themselves(writer: Writer) -> None:
    """A batch goes on though a child has failed, however deep; one in which nothing failed stays as it is."""
    request = batch([batch([batch(children(2))]), batch(children(1))], then=THEN)
    batch_ = await accepted(writer, request)
    middle, fine = await inner_of(writer, batch_)
    (deepest,) = await inner_of(writer, middle)
    await end_one(writer, (await with_status(writer, deepest, S.QUEUED))[0], S.FAILED)
    for one in (deepest, fine):
        await end(writer, one)
    await advance(writer, fine.id)
    (follower,) = await advance(writer, deepest.id)
    await end_one(writer, follower.id, S.FAILED)

    keeper = keeping(writer)
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    await kept(keeper, batch_)
    assert [len(await with_status(writer, deepest, status)) for status in (S.QUEUED, S.SUCCEEDED)] == [1, 1]
    found = [(await there(writer, one.id)).state for one in (batch_, middle, deepest, fine)]
    assert found == [*[BatchState.OPEN] * 3, BatchState.DONE]
    await end(writer, deepest)
    assert [(again.id, again.run) for again in await advance(writer, deepest.id)] == [(follower.id, 2)]
    assert (await there(writer, batch_.id)).state is BatchState.DONE


@pytest.mark.parametrize("stop", [False, True])
async def test_the_then_of_a_batch_in_a_batch_runs_again_after_its_children(writer: Writer, *, stop: bool) -> None:
    """Until then it keeps its row, which neither is retried, nor stops the outer batch, nor is counted as failed."""
    inner_then = JobRequest("conformance.inner", {})
    batch_ = await accepted(writer, batch([batch(children(2), then=inner_then)], then=THEN, stop=stop))
    (inner,) = await inner_of(writer, batch_)
    await end_one(writer, (await with_status(writer, inner, S.QUEUED))[0], S.FAILED)
    await end(writer, inner)
    (first,) = await advance(writer, inner.id)
    await end_one(writer, first.id, S.FAILED)
    followers = await advance(writer, batch_.id)
    for follower in followers:
        await end_one(writer, follower.id, S.FAILED)
    assert (await there(writer, batch_.id)).state is (BatchState.STOPPED if stop else BatchState.DONE)

    keeper = keeping(writer)
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    await kept(keeper, batch_)
    assert len(await with_status(writer, inner, S.QUEUED)) == 1
    assert await with_status(writer, batch_, S.FAILED) == [first.id]
    assert (await there(writer, batch_.id)).state is BatchState.OPEN
    counts = await writer.database.read(lambda tx: batch_children.counts(tx, batch_))
    assert {status: n for status, n in counts.items() if n} == {S.RUNNING: 1}

    await end(writer, inner)
    (again,) = await advance(writer, inner.id)
    assert (again.id, again.run, again.status) == (first.id, 2, S.QUEUED)
    await end_one(writer, first.id, S.SUCCEEDED)
    (last,) = await advance(writer, batch_.id)
    assert (last.handler, last.run) == ("conformance.then", 1 if stop else 2)
    assert (await there(writer, batch_.id)).state is BatchState.DONE


async def test_a_then_that_runs_again_is_no_accepted_job(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is delivered, and counts as accepted once."""
    enqueuer, new = Enqueuer(), list[str]()
    monkeypatch.setattr(enqueuer, "dispatch_new", lambda jobs: new.extend(job.id for job in jobs))
    keeper = BatchKeeper(writer, enqueuer, Metrics())
    batch_ = await accepted(writer, batch(children(1), then=THEN))
    await end(writer, batch_, S.FAILED)
    await kept(keeper, batch_)
    follower = (await there(writer, batch_.id)).next_job
    assert new == [follower]
    await end_one(writer, str(follower), S.FAILED)
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    await kept(keeper, batch_)
    await end(writer, batch_)
    enqueuer.dispatched.clear()
    await kept(keeper, batch_)
    assert (await there(writer, batch_.id)).state is BatchState.DONE
    assert (new, enqueuer.dispatched) == ([follower], [follower])


async def test_a_retry_is_refused_if_all_that_failed_is_in_a_batch_whose_then_has_succeeded(writer: Writer) -> None:
    batch_ = await accepted(writer, batch([batch(children(1), then=THEN)]))
    (inner,) = await inner_of(writer, batch_)
    await end(writer, inner, S.FAILED)
    (follower,) = await advance(writer, inner.id)
    await end_one(writer, follower.id, S.SUCCEEDED)
    await advance(writer, batch_.id)
    with pytest.raises(BatchConflict, match="nothing in the batch has failed"):
        await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))


async def test_a_batch_that_is_retried_and_then_stopped_has_no_second_job_that_follows(writer: Writer) -> None:
    """After the failure of its `then`, the batch in it is opened again with it, and cancelled."""
    notice = JobRequest("conformance.notice", {})
    batch_ = await accepted(writer, batch([batch(children(1))], then=THEN, on_failure=notice))
    (inner,) = await inner_of(writer, batch_)
    await end(writer, inner, S.FAILED)
    (follower,) = await advance(writer, inner.id)
    await end_one(writer, follower.id, S.FAILED)
    keeper = keeping(writer)
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    await kept(keeper, batch_)
    await writer.run(partial(batches.cancel, batch_id=inner.id, reason=None, visible=EVERYTHING))
    await kept(keeper, inner)
    over = await there(writer, batch_.id)
    assert (over.state, over.next_job) == (BatchState.CANCELLED, follower.id)
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    await kept(keeper, batch_)
    await end(writer, inner)
    assert [again.id for again in await advance(writer, inner.id)] == [follower.id]


async def test_children_of_a_batch_that_is_cancelled_without_a_reason_have_none(writer: Writer) -> None:
    """Neither have those that become jobs later, nor a batch in the batch: nothing has failed."""
    batch_ = await accepted(writer, batch([*children(MANY), batch(children(1))]))
    (inner,) = await inner_of(writer, batch_)
    await writer.run(partial(batches.cancel, batch_id=batch_.id, reason=None, visible=EVERYTHING))
    await kept(keeping(writer), batch_)
    assert len(await expand(writer)) == MANY + 1 - CHUNK
    reasons = sa.select(jobs.c.status, jobs.c.reason).distinct()
    found = await writer.database.read(lambda tx: tx.all(reasons))
    assert [*map(tuple, found)] == [("CANCELLED", None)]
    assert (await there(writer, inner.id)).reason is None


async def test_a_failure_that_stops_a_batch_which_is_retried_is_the_reason_of_its_children(writer: Writer) -> None:
    """The `then` has followed before, so that the batch is cancelled."""
    batch_ = await accepted(writer, batch(children(2), then=THEN, stop=True))
    for child in await with_status(writer, batch_, S.QUEUED):
        await end_one(writer, child, S.SUCCEEDED)
    (follower,) = await advance(writer, batch_.id)
    await end_one(writer, follower.id, S.FAILED)
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    await writer.run(partial(batches.reopen, batch_id=batch_.id))
    failed, waiting = await with_status(writer, batch_, S.SUCCEEDED)
    await end_one(writer, failed, S.FAILED)
    again = sa.update(jobs).where(jobs.c.id == waiting).values(status=S.QUEUED.value, finished_at=None)
    await writer.run(lambda tx: tx.execute(again))
    await kept(keeping(writer), batch_)
    assert (await there(writer, batch_.id)).state is BatchState.CANCELLED
    reasons = sa.select(jobs.c.reason).where(jobs.c.id == waiting)
    assert await writer.database.read(lambda tx: tx.scalar(reasons)) == batches.STOPPED_WITH


async def test_a_process_that_stood_still_cancels_nothing_that_is_retried_since(writer: Writer) -> None:
    """The process has read that the batch is being cancelled; another one ends that, and the batch is retried."""
    batch_ = await accepted(writer, batch([*children(2), batch(children(1))]))
    (inner,) = await inner_of(writer, batch_)
    await writer.run(partial(batches.cancel, batch_id=batch_.id, reason=None, visible=EVERYTHING))
    before = await there(writer, batch_.id)
    await kept(keeping(writer), batch_)
    assert (await there(writer, batch_.id)).state is BatchState.CANCELLED
    await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
    await kept(keeping(writer), batch_)
    assert await writer.run(partial(batches.cancel_children, limit=9, batch=before)) is None
    await writer.run(partial(batches.cancel_nested, batch_id=inner.id, reason=None))
    assert [len(await with_status(writer, one, S.QUEUED)) for one in (batch_, inner)] == [2, 1]
    assert [(await there(writer, one.id)).state for one in (batch_, inner)] == [BatchState.OPEN] * 2


async def test_a_process_that_stood_still_does_not_end_a_later_retry(writer: Writer) -> None:
    """Not all children of the later one are queued again by then; nor is a batch in the batch retried by itself."""
    batch_ = await accepted(writer, batch([*children(2), batch(children(1))]))
    (inner,) = await inner_of(writer, batch_)
    retry = partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING)
    for one in (inner, batch_):
        await end(writer, one, S.FAILED)
    await advance(writer, inner.id)
    first = await writer.run(retry)
    await kept(keeping(writer), batch_)
    for one in (inner, batch_):
        await end(writer, one, S.FAILED)
    await advance(writer, inner.id)
    await writer.run(partial(batches.retry_nested, batch_id=inner.id))
    assert [(await there(writer, one.id)).state for one in (batch_, inner)] == [BatchState.DONE] * 2
    second = await writer.run(retry)
    await writer.run(partial(batches.reopen, batch_id=batch_.id, retried=first.retried))
    assert (await there(writer, batch_.id)).state is BatchState.RETRYING
    await writer.run(partial(batches.reopen, batch_id=batch_.id, retried=second.retried))
    assert (await there(writer, batch_.id)).state is BatchState.OPEN


async def test_a_batch_is_not_retried_once_what_followed_is_deleted(writer: Writer) -> None:
    """Otherwise the job that followed would do so a second time."""
    batch_ = await accepted(writer, batch(children(2), then=THEN))
    await end(writer, batch_, S.FAILED)
    (follower,) = await advance(writer, batch_.id)
    await writer.run(lambda tx: tx.execute(sa.delete(jobs).where(jobs.c.id == sa.bindparam("id_")), id_=follower.id))
    with pytest.raises(BatchConflict, match="has been deleted"):
        await writer.run(partial(batches.retry, batch_id=batch_.id, visible=EVERYTHING))
