"""Plain functions: the start of their time limit, and functions that go on past it."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from onward.handlers.base import JobContext, Retry, handler
from onward.jobs import blocked, commands, concurrency, recovery, step_threads
from onward.jobs.limits import Limit
from onward.jobs.model import Job, Visible
from onward.jobs.states import JobStatus
from onward.jobs.waiting import waits_for
from onward.storage.tables import runners
from onward.storage.writer import Writer
from tests.runners import Node, node, until

S = JobStatus
ONCE = Retry(max_attempts=1)
SHORT = timedelta(milliseconds=50)
EVERYTHING = Visible(everything=True)
pytestmark = pytest.mark.anyio


class Stuck:
    """Functions that ignore every stop until the test releases them."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running = 0
        self.most = 0
        self.started: list[str] = []

    def __call__(self, job: JobContext) -> None:
        self.started.append(job.id)
        self.running += 1
        self.most = max(self.most, self.running)
        self.go.wait(60)
        self.running -= 1


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    made = Stuck()
    yield made
    made.go.set()


async def overrun(here: Node, stuck: Stuck, n: int = 1) -> list[Job]:
    """Run jobs whose functions go on past their time limit."""

    @handler("conformance.stuck", retry=ONCE, timeout=SHORT)
    def wait(job: JobContext) -> None:
        stuck(job)

    here.handlers["conformance.stuck"] = wait
    return list(await asyncio.gather(*(here.run(wait) for _ in range(n))))


async def test_every_slot_has_a_thread(writer: Writer, stuck: Stuck) -> None:
    """A hundred functions run at once, where the pool had 64 threads at most."""

    @handler("conformance.wait", retry=ONCE)
    def wait(job: JobContext) -> None:
        stuck(job)

    async with node(writer, wait) as here:
        tasks = [here.start(await here.accept(wait)) for _ in range(100)]
        await until(lambda: stuck.running == 100)
        stuck.go.set()
        assert all(await asyncio.gather(*tasks))


async def test_each_function_past_its_limit_gets_a_replacement(
    writer: Writer, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next function begins, however many go on past their limit, and a metric counts those."""
    monkeypatch.setattr(step_threads.StepThreads.__init__, "__defaults__", (8,))

    @handler("conformance.note", retry=ONCE)
    def note(_job: JobContext) -> str:
        return "ran"

    async with node(writer, note) as here:
        ended = await overrun(here, stuck, 7)
        assert {job.error.code for job in ended if job.error} == {"TIMED_OUT"}
        assert (await here.run(note)).result == "ran"
        assert b"onward_overrun_threads 7.0" in here.metrics.text()
        assert not here.runner.out_of_threads


async def test_at_the_bound_a_job_waits_with_a_reason_and_its_time_limit_has_not_begun(
    writer: Writer, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is not timed out for its wait, and runs as soon as a function ends."""
    monkeypatch.setattr(step_threads.StepThreads.__init__, "__defaults__", (2,))

    @handler("conformance.short", retry=ONCE, timeout=SHORT)
    def short(job: JobContext) -> str:
        job.check()
        return "ran"

    async with node(writer, short) as here:
        await overrun(here, stuck, 2)
        assert here.runner.out_of_threads
        job = await here.accept(short)
        task = here.start(job)
        async with asyncio.timeout(60):
            while (found := await here.get(job)).blocked is None:
                await asyncio.sleep(0.01)
        assert found.status is S.RUNNING
        assert "a free thread" in (waits_for(found, None, answers=True) or "")
        await asyncio.sleep(2 * SHORT.total_seconds())
        assert (await here.get(job)).status is S.RUNNING
        stuck.go.set()
        await task
        done = await here.get(job)
        assert (done.status, done.result, done.blocked) == (S.SUCCEEDED, "ran", None)
        await until(lambda: not here.runner.out_of_threads)


@pytest.mark.parametrize("ending", ["cancel", "drain"])
async def test_a_job_that_ended_while_it_waited_for_a_thread_never_begins(
    writer: Writer, stuck: Stuck, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Cancelled or handed back at once, it does not run on the next free thread."""
    monkeypatch.setattr(step_threads.StepThreads.__init__, "__defaults__", (1,))
    started = []

    @handler("conformance.late", retry=ONCE, timeout=SHORT)
    def late(job: JobContext) -> None:
        started.append(job.id)

    async with node(writer, late) as here:
        await overrun(here, stuck)
        job = await here.accept(late)
        task = here.start(job)
        async with asyncio.timeout(60):  # one that is only claimed when the drain ends is left to the end of the lease
            while (await here.get(job)).blocked is None:
                await asyncio.sleep(0.01)
        if ending == "cancel":
            await here.writer.run(lambda tx: commands.cancel(tx, job.id, reason=None, visible=EVERYTHING))
            assert (await here.is_now(job, S.CANCELLED)).status is S.CANCELLED
        else:
            await here.runner.drain(30.0)
            waiting = await here.is_now(job, S.QUEUED)
            assert waiting.counted_attempts == 0
        await task
        stuck.go.set()
        await until(lambda: stuck.running == 0)
        assert started == []


async def test_a_limit_holds_while_a_function_goes_on_past_its_time(writer: Writer, stuck: Stuck) -> None:
    """The job has FAILED at its limit; its slot becomes free when the function ends, and unblocks the next job."""
    await writer.run(partial(concurrency.configure, limits={"conformance.stuck": Limit(concurrency=1)}))
    async with node(writer) as here:
        (ended,) = await overrun(here, stuck)
        assert ended.status is S.FAILED
        following = await here.accept(here.handlers["conformance.stuck"])
        assert await here.claim(following) is None
        assert (await here.get(following)).blocked == concurrency.CONCURRENCY
        stuck.go.set()
        await until(lambda: here.enqueuer.dispatched == [following.id])
        assert await here.start(following)
        assert stuck.most == 1


async def test_a_function_that_outlives_the_drain_keeps_its_place_until_its_process_is_gone(
    writer: Writer, stuck: Stuck
) -> None:
    """The job is handed back at once. Another runner that leads maintenance finds the process gone."""

    @handler("conformance.deaf")
    def deaf(job: JobContext) -> None:
        stuck(job)

    await writer.run(partial(concurrency.configure, limits={"conformance.deaf": Limit(concurrency=1)}))
    async with node(writer, deaf) as here:
        job = await here.accept(deaf)
        task = here.start(job)
        await until(lambda: stuck.running == 1)
        here.lease._observe()
        assert here.lease.leads
    async with node(writer) as there:
        there.lease._observe()
        assert there.lease.leads
        assert (await there.get(job)).status is S.QUEUED
        assert await there.claim(job) is None
        assert await there.writer.run(blocked.admissible_handlers) == ([], None)
        beat = await there.writer.run(
            lambda tx: tx.scalar(sa.select(runners.c.beat).where(runners.c.id == here.lease.id))
        )
        await there.writer.run(lambda tx: recovery.reclaim_dead(tx, runner=here.lease.id, beat=beat or 0))
        assert await there.writer.run(blocked.admissible_handlers) == (["conformance.deaf"], None)
    stuck.go.set()
    task.cancel()


async def test_a_function_without_a_thread_is_tried_again_and_runs_once(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system refuses a thread: nothing is charged to the job, and no other thread runs the function later."""
    ran: list[str] = []

    @handler("conformance.noted", retry=ONCE)
    def noted(job: JobContext) -> None:
        ran.append(job.id)

    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "step":  # not one of those that read the ledger
            raise RuntimeError("can't start new thread")
        start(thread)

    async with node(writer, noted) as here:
        first = await here.accept(noted)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            await here.start(first)
        second = await here.accept(noted)
        await here.start(second)
        assert ran == [second.id]
        found = await here.get(first)
        assert (found.status, found.counted_attempts) == (S.RETRYING, 0)


async def test_a_function_that_is_cancelled_while_it_waits_for_a_thread_is_forgotten() -> None:
    """No thread may become free for long, and each holds what it was called with."""
    threads = step_threads.StepThreads(0)
    held = Stuck()
    call = threads.submit(partial(held, None), lambda _waited: None)  # type: ignore[arg-type]
    assert call.waits
    gone = weakref.ref(held)
    call.cancel()
    await asyncio.sleep(0)
    del call, held
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("threads_there_are", ["more", "no more"])
async def test_all_that_wait_begin_once_a_function_past_its_limit_has_ended(
    monkeypatch: pytest.MonkeyPatch, threads_there_are: str
) -> None:
    """Every function gets a thread of its own; where the system starts none, the functions take turns."""
    together = threading.Barrier(3 if threads_there_are == "more" else 1)
    ran = list[int]()

    def wait(n: int) -> None:
        together.wait(30)
        ran.append(n)

    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads, go = step_threads.StepThreads(2), [threading.Event(), threading.Event()]
    try:
        for one in go:
            threads.count_as_overrun(threads.submit(partial(one.wait, 60), lambda _waited: None))
        calls = [threads.submit(partial(wait, n), lambda _waited: None) for n in range(3)]
        assert all(call.waits for call in calls)
        if threads_there_are == "no more":
            monkeypatch.setattr(threading.Thread, "start", refused)
        go[0].set()
        await asyncio.gather(*(call.ended for call in calls))
        assert sorted(ran) == [0, 1, 2]
        assert not any(call.waits for call in calls)
    finally:
        for one in go:
            one.set()
        threads.close()
