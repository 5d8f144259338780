"""The output of jobs: every chunk once and in order, under the claim alone, bounded, and gone with the job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from onward.handlers.base import Handler, JobContext, LeaseLost, Permanent, Retry, handler, sequence
from onward.jobs import chunks, claims, commands, emitting, recovery
from onward.jobs.base import NotFound
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.chunks import Emitted, Kept
from onward.jobs.following import follow_output
from onward.jobs.model import Job, JobChunk, Visible
from onward.jobs.states import JobStatus
from onward.maintenance import cleaner
from onward.maintenance.cleaner import Cleaner, Retention
from onward.storage.base import Unavailable
from onward.storage.tables import jobs, output, runners
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import accept, note_statements
from tests.runners import Node, node, until

S = JobStatus
EVERYTHING = Visible(everything=True)
ONCE = Retry(max_attempts=1)
DAY_US = 86_400_000_000
pytestmark = pytest.mark.anyio


async def chunks_of(writer: Writer, job: Job) -> list[JobChunk]:
    """Return all chunks of the job that are in the ledger."""
    found: list[JobChunk] = []
    page = None
    while page is None or not page.is_last:
        after = found[-1].offset if found else -1
        page = await writer.database.read(partial(chunks.page, job_id=job.id, after=after, visible=EVERYTHING))
        assert page is not None
        found += page.chunks
    return found


def values(found: list[JobChunk]) -> list[Any]:
    return [chunk.data for chunk in found]


@pytest.fixture
async def feed(writer: Writer, anyio_backend: str) -> AsyncIterator[ChangeFeed]:
    made = ChangeFeed(writer.database)
    writer.on_commit = made.wake
    made.start()
    yield made
    await made.close()


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many chunks each commit has that writes nothing else."""
    found: list[int] = []
    append = chunks.append_under_claim

    def noted(tx: Tx, job: Job, chunks: Any, before: Kept) -> Kept | None:
        found.append(len(chunks))
        return append(tx, job, chunks, before)

    monkeypatch.setattr(chunks, "append_under_claim", noted)
    return found


async def talk(job: JobContext) -> None:
    for n in range(300):
        job.emit(f"word {n} \u00e4\0")


def talk_in_a_thread(job: JobContext) -> None:
    for n in range(300):
        job.emit(f"word {n} \u00e4\0")


@pytest.mark.parametrize("function", [talk, talk_in_a_thread])
async def test_chunks_of_a_moment_are_written_together(
    writer: Writer, writes: list[int], function: Callable[..., Any]
) -> None:
    """Three hundred chunks take a few commits, and the last of them are in that of the job's end."""
    talks = handler("tests.talks", retry=ONCE)(function)
    async with node(writer, talks) as here:
        job = await here.run(talks)
        assert job.status is S.SUCCEEDED
        found = await chunks_of(writer, job)
    assert values(found) == [f"word {n} \u00e4\0" for n in range(300)]
    assert [chunk.offset for chunk in found] == list(range(300))
    assert {chunk.attempt for chunk in found} == {1}
    assert len(writes) < 30, writes


async def test_a_job_without_output_costs_no_statement_more(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its claim, its steps nor its end look at the table of output."""

    async def first(_job: JobContext) -> str:
        return "first"

    async def second(job: JobContext, value: str) -> str:
        job.progress(1, 2)
        return value

    @handler("tests.loud", retry=ONCE)
    async def loud(job: JobContext) -> None:
        job.emit("a chunk")

    steps = sequence("tests.steps", (first, second), retry=ONCE)
    async with node(writer, steps, loud) as here:
        seen = note_statements(writer, monkeypatch)
        assert (await here.run(steps)).status is S.SUCCEEDED
        assert any("UPDATE" in text for text in seen)
        assert not [text for text in seen if "output" in text]
        await here.run(loud)
        assert [text for text in seen if "output" in text]


async def test_attempts_and_runs_are_told_apart_and_count_on(writer: Writer) -> None:
    """Each attempt emits anew behind what is there, and so does the run after a retry by hand."""

    @handler("tests.fails", retry=Retry(max_attempts=2, base=timedelta(0), cap=timedelta(0)))
    async def fails(job: JobContext) -> None:
        job.emit({"attempt": job.attempt})
        job.emit("once more")
        raise ValueError("each time")

    async with node(writer, fails) as here:
        job = await here.accept(fails)
        for _ in range(2):
            await here.start(job)
            await writer.run(lambda tx: tx.execute(_queue, id_=job.id))
        failed = await here.is_now(job, S.FAILED)
        await writer.run(lambda tx: commands.retry(tx, failed.id, from_start=True, visible=EVERYTHING, route=_here))
        await here.start(job)
        found = await chunks_of(writer, job)
    assert [(chunk.offset, chunk.attempt) for chunk in found] == [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3)]
    assert values(found)[::2] == [{"attempt": 1}, {"attempt": 2}, {"attempt": 3}]


_queue = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("id_"), jobs.c.status == "RETRYING")
    .values(status="QUEUED", due_at=0)
)


def _here(_handler: str, _present: str = "") -> str:
    return "here"


def ends_in(way: str) -> Handler:
    async def ends(job: JobContext) -> None:
        job.emit("first")
        await asyncio.sleep(0.02)
        try:
            if way == "failure":
                raise Permanent("it cannot be done")
            await asyncio.Event().wait()
        finally:
            job_output(job, "last")

    def job_output(job: Any, chunk: str) -> None:
        job.emit_json(f'"{chunk}"')  # past `check`, as of a handler that is about to be stopped

    limit = timedelta(seconds=0.1) if way == "timeout" else None
    return handler(f"tests.{way}", retry=ONCE, timeout=limit)(ends)


@pytest.mark.parametrize(
    ("way", "status"),
    [("failure", S.FAILED), ("timeout", S.FAILED), ("cancel", S.CANCELLED), ("drain", S.QUEUED)],
)
async def test_no_end_of_an_attempt_loses_its_last_chunk(writer: Writer, way: str, status: JobStatus) -> None:
    """The chunk is in the commit by which the attempt ends."""
    ends = ends_in(way)
    async with node(writer, ends) as here:
        job = await here.accept(ends)
        task = here.start(job)
        async with asyncio.timeout(20):
            while not await chunks_of(writer, job):
                await asyncio.sleep(0.005)
        if way == "cancel":
            await writer.run(lambda tx: commands.cancel(tx, job.id, reason=None, visible=EVERYTHING))
        if way == "drain":
            await here.runner.drain(0.2)
        await task
        assert (await here.get(job)).status is status
        assert values(await chunks_of(writer, job)) == ["first", "last"]


async def test_a_step_s_chunks_are_there_when_the_next_one_begins(writer: Writer) -> None:
    seen: list[Any] = []

    async def first(job: JobContext) -> str:
        for n in range(5):
            job.emit(n)
        return job.id

    async def second(job: JobContext, value: str) -> None:
        found = await writer.database.read(partial(chunks.page, job_id=value, after=-1, visible=EVERYTHING))
        assert found is not None
        seen.extend(values(list(found.chunks)))
        job.emit(5)

    steps = sequence("tests.steps", (first, second), retry=ONCE)
    async with node(writer, steps) as here:
        job = await here.run(steps)
        assert job.status is S.SUCCEEDED
        assert seen == [0, 1, 2, 3, 4]
        found = await chunks_of(writer, job)
        assert [(chunk.step, chunk.data) for chunk in found] == [*(("first", n) for n in range(5)), ("second", 5)]


class Talker:
    """A handler that emits what it is told to, until it is told nothing more."""

    def __init__(self) -> None:
        self.words: asyncio.Queue[str | None] = asyncio.Queue()
        self.contexts: list[Any] = []

    @property
    def handler(self) -> Handler:
        @handler("tests.talker", retry=ONCE)
        async def talker(job: JobContext) -> None:
            self.contexts.append(job)
            while (word := await self.words.get()) is not None:
                job.emit(word)

        return talker


async def reclaim(here: Node) -> None:
    """Declare the runner dead, as a process on another machine does."""

    def dead(tx: Tx) -> Any:
        beat = tx.scalar(sa.select(runners.c.beat).where(runners.c.id == here.lease.id))
        return recovery.reclaim_dead(tx, runner=here.lease.id, beat=beat or 0)

    assert await here.writer.run(dead) is not None


async def test_a_superseded_attempt_writes_nothing(writer: Writer) -> None:
    """Another runner has claimed the job: what its former one emits from then on is in no ledger."""
    talker = Talker()
    talks = talker.handler
    async with node(writer, talks) as here:
        job = await here.accept(talks)
        task = here.start(job)
        talker.words.put_nowait("mine")
        async with asyncio.timeout(20):
            while not await chunks_of(writer, job):
                await asyncio.sleep(0.005)
        await reclaim(here)
        claim = partial(claims.claim, job_id=job.id, runner="other", worker="w", backend="here", isolated=True)
        other = await writer.run(claim)
        assert other is not None
        mine = chunks.Kept(1, 1, 6)
        await writer.run(lambda tx: chunks.append_under_claim(tx, other, [Emitted(1, "draft", 8, '"theirs"')], mine))
        for word in ("late", "later", None):
            talker.words.put_nowait(word)
        await task
        assert [(chunk.attempt, chunk.data) for chunk in await chunks_of(writer, job)] == [(1, "mine"), (2, "theirs")]


@pytest.mark.parametrize("notices", ["in time", "late"])
async def test_output_goes_on_under_a_claim_that_is_resumed(writer: Writer, notices: str) -> None:
    """The process was taken for dead, and nobody has claimed its job: not one of its chunks is lost."""
    talker = Talker()
    talks = talker.handler
    async with node(writer, talks) as here:
        job = await here.accept(talks)
        task = here.start(job)
        talker.words.put_nowait("before")
        await until(lambda: bool(talker.contexts) and talker.contexts[0].output is not None)
        await reclaim(here)
        talker.words.put_nowait("between")
        await asyncio.sleep(0.1)
        if notices == "in time":
            await asyncio.to_thread(here.lease._observe)
            here.runner.lost()
            await here.is_now(job, S.RUNNING)
        for word in (*"after", None):
            talker.words.put_nowait(word)
        await task
        found = await chunks_of(writer, job)
        assert (await here.get(job)).status is S.SUCCEEDED
    assert values(found) == ["before", "between", *"after"]
    assert [chunk.offset for chunk in found] == list(range(7))


async def test_an_outage_of_the_ledger_loses_no_chunk(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks wait for the ledger, and the step's end with them."""
    talker, away = Talker(), asyncio.Event()
    talks, run = talker.handler, writer.run

    async def refused(*arguments: Any) -> Any:
        if away.is_set():
            raise Unavailable("away")
        return await run(*arguments)

    async with node(writer, talks) as here:
        job = await here.accept(talks)
        task = here.start(job)
        await until(lambda: bool(talker.contexts))
        monkeypatch.setattr(writer, "run", refused)
        away.set()
        for word in (*"abc", None):
            talker.words.put_nowait(word)
        await until(talker.words.empty)
        assert await chunks_of(writer, job) == []
        away.clear()
        await task
        assert values(await chunks_of(writer, job)) == ["a", "b", "c"]


async def test_a_write_whose_outcome_is_unknown_may_be_repeated(writer: Writer) -> None:
    job = await writer.run(accept)
    some = [Emitted(0, "draft", 3, '"a"'), Emitted(1, "draft", 3, '"b"')]
    for _ in range(2):
        await writer.run(lambda tx: chunks.append(tx, job, some, Kept()))
    assert values(await chunks_of(writer, job)) == ["a", "b"]


BAD = (
    ("x" * 32_000, "CHUNK_TOO_LARGE"),
    (["x" * 16_000] * 2, "CHUNK_TOO_LARGE"),
    (b"bytes", "CHUNK_NOT_JSON"),
    ({1, 2}, "CHUNK_NOT_JSON"),
    ("\ud800", "CHUNK_NOT_JSON"),
    ([float("nan")], "CHUNK_NOT_JSON"),
    (None, "CHUNK_NOT_JSON"),
)


async def test_a_chunk_that_cannot_be_kept_is_refused(writer: Writer) -> None:
    """The handler gets the error where it emits, and what it has emitted before is there."""
    given: list[Any] = []

    @handler("tests.bad", retry=ONCE)
    async def bad(job: JobContext) -> None:
        job.emit("good")
        job.emit(given[-1])

    async with node(writer, bad) as here:
        for chunk, code in BAD:
            given.append(chunk)
            job = await here.run(bad)
            assert (job.status, job.error and job.error.code) == (S.FAILED, code)
            assert values(await chunks_of(writer, job)) == ["good"]


@pytest.mark.parametrize("bound", ["chunks", "bytes"])
async def test_the_newest_chunks_of_a_job_are_kept(writer: Writer, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Older ones are dropped, those of earlier attempts first, and the offsets show it; up to a third more are kept."""
    most, size = (39, 4_000_000) if bound == "chunks" else (10_000, 39 * 5)
    for module in (chunks, emitting):
        monkeypatch.setattr(module, "MAX_CHUNKS", most)
        monkeypatch.setattr(module, "MAX_BYTES", size)

    @handler("tests.talks", retry=ONCE)
    async def talks(job: JobContext) -> None:
        for n in range(100):
            job.emit(f"{n:03}")  # of five bytes with its quotes
            if n % 7 == 0:
                await asyncio.sleep(0.01)

    async with node(writer, talks) as here:
        job = await here.run(talks)
        found = await chunks_of(writer, job)
    offsets = [chunk.offset for chunk in found]
    assert 39 <= len(found) <= 52
    assert offsets == list(range(100 - len(found), 100))
    assert values(found)[-1] == "099"


async def test_a_flood_that_is_not_written_yet_is_bounded(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process holds no more of a job's output than the ledger keeps."""
    for module in (chunks, emitting):
        monkeypatch.setattr(module, "MAX_CHUNKS", 50)
    monkeypatch.setattr(emitting, "MAX_WRITE", 20)
    waiting: list[int] = []

    @handler("tests.floods", retry=ONCE)
    async def floods(job: Any) -> None:
        for n in range(500):
            job.emit(n)
            waiting.append(job.output.waiting)

    async with node(writer, floods) as here:
        job = await here.run(floods)
        found = await chunks_of(writer, job)
    assert max(waiting) == 50
    assert values(found) == list(range(500 - len(found), 500))
    assert [chunk.offset for chunk in found] == values(found)


async def test_nothing_is_emitted_after_the_end(writer: Writer) -> None:
    kept: list[JobContext] = []

    @handler("tests.leaks", retry=ONCE)
    async def leaks(job: JobContext) -> None:
        kept.append(job)
        job.emit("in time")

    async with node(writer, leaks) as here:
        job = await here.run(leaks)
        with pytest.raises(LeaseLost, match="the job is over, and its output with it"):
            kept[0].emit("late")
        assert values(await chunks_of(writer, job)) == ["in time"]


async def test_a_reader_gets_each_chunk_once_and_ends_with_the_job(writer: Writer, feed: ChangeFeed) -> None:
    """The reader comes in the middle, is cut off, and goes on behind the last chunk that it has."""
    talker = Talker()
    talks = talker.handler
    got: list[JobChunk] = []

    async def read(enough: int | None) -> None:
        after = got[-1].offset if got else None
        following = follow_output(feed, writer.database.read, job.id, visible=EVERYTHING, after=after)
        async with asyncio.timeout(20), aclosing(following) as found:
            async for chunk in found:
                got.append(chunk)
                if enough is not None and len(got) >= enough:
                    return

    async with node(writer, talks) as here:
        job = await here.accept(talks)
        task = here.start(job)
        for n in range(250):
            talker.words.put_nowait(str(n))
        await read(5)
        await read(120)
        for n in range(250, 300):
            talker.words.put_nowait(str(n))
            await asyncio.sleep(0.001)
        reading = asyncio.create_task(read(None))
        await until(lambda: len(got) == 300)
        talker.words.put_nowait("the last one")
        talker.words.put_nowait(None)
        await reading
        await task
        await read(None)  # the job is over: there is nothing more, and no wait
    assert values(got) == [*(str(n) for n in range(300)), "the last one"]
    assert [chunk.offset for chunk in got] == list(range(301))


async def test_a_reader_hears_of_chunks_without_any_wake_up(writer: Writer) -> None:
    """Chunks of other processes cause none."""
    quiet = ChangeFeed(writer.database)
    quiet.start()
    job = await writer.run(accept)
    following = follow_output(quiet, writer.database.read, job.id, visible=EVERYTHING)
    try:
        async with asyncio.timeout(10), aclosing(following) as found:
            for n in range(5):
                upcoming = asyncio.create_task(anext(found))
                await asyncio.sleep(0.02)
                await writer.run(lambda tx, n=n: chunks.append(tx, job, [Emitted(n, "draft", 1, str(n))], Kept()))  # type: ignore[misc]
                assert (await upcoming).data == n
    finally:
        await quiet.close()


async def test_a_reader_who_may_not_see_the_job_gets_nothing(writer: Writer, feed: ChangeFeed) -> None:
    job = await writer.run(accept)
    for visible, id_ in ((Visible(owner="ann"), job.id), (EVERYTHING, "job_none")):
        with pytest.raises(NotFound):
            await anext(follow_output(feed, writer.database.read, id_, visible=visible))


async def test_a_page_is_bounded_in_chunks_and_bytes(writer: Writer) -> None:
    """A slow reader is no reason to hold more."""
    job = await writer.run(accept)
    small = [Emitted(n, "draft", 1, "1") for n in range(250)]
    large = [Emitted(n, "draft", 30_000, f'"{"x" * 29_998}"') for n in range(250, 300)]
    await writer.run(lambda tx: chunks.append(tx, job, [*small, *large], Kept()))
    after, pages = -1, []
    while True:
        page = await writer.database.read(partial(chunks.page, job_id=job.id, after=after, visible=EVERYTHING))
        assert page is not None
        pages.append(page.chunks)
        after = page.chunks[-1].offset
        if page.is_last:
            break
    assert [chunk.offset for found in pages for chunk in found] == list(range(300))
    assert max(map(len, pages)) == chunks.PAGE_CHUNKS
    assert all(sum(len(str(one.data)) for one in found) < chunks.PAGE_BYTES + 32_000 for found in pages)
    assert len(pages) > 5


async def test_chunks_go_with_their_job(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of the cleaner deletes as many jobs as have not too many chunks, and the others keep theirs."""
    monkeypatch.setattr(chunks, "COUNTED_AT_ONCE", 25)

    @handler("tests.talks", retry=ONCE)
    async def talks(job: JobContext) -> None:
        for n in range(10):
            job.emit(n)

    counts: list[int] = []
    prune = cleaner._prune

    def noted(tx: Tx, limit: int, age_us: int) -> int:
        counts.append(prune(tx, limit, age_us))
        return counts[-1]

    monkeypatch.setattr(cleaner, "_prune", noted)
    async with node(writer, talks) as here:
        old = [await here.run(talks) for _ in range(5)]
        await writer.run(lambda tx: tx.execute(_age))
        young = await here.run(talks)
        assert await Cleaner(writer, Retention(jobs=timedelta(days=9), keys=None)).prune() == len(old)
        left = await writer.database.read(lambda tx: tx.all(sa.select(output.c.job, sa.func.count()).group_by("job")))
    assert [(row[0], int(row[1])) for row in left] == [(young.id, 10)]
    assert [n for n in counts if n] == [2, 2, 1]


_age = sa.update(jobs).values(
    {name: jobs.c[name] - 10 * DAY_US for name in ("created_at", "due_at", "started_at", "finished_at")}
)


async def test_many_threads_may_emit_at_once(writer: Writer) -> None:
    """No chunk is lost between them, and each thread's own are in its order."""

    @handler("tests.crowd", retry=ONCE)
    def crowd(job: JobContext) -> None:
        def speak(who: int) -> None:
            for n in range(100):
                job.emit([who, n])

        threads = [threading.Thread(target=speak, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async with node(writer, crowd) as here:
        found = await chunks_of(writer, await here.run(crowd))
    assert [chunk.offset for chunk in found] == list(range(400))
    for who in range(4):
        assert [n for one, n in values(found) if one == who] == list(range(100))
