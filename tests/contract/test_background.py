"""Cases of the in-process backend only: the order of a request's jobs, bounded memory, one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from onward.backends.base import Role
from onward.config import settings
from onward.jobs import ledger
from onward.jobs.model import Job
from onward.jobs.states import JobStatus, StepStatus
from onward.jobs.timings import Timings
from onward.runtime import wiring
from onward.storage.revision import Revision
from onward.testing import node
from onward.testing.waiting import until
from onward.testing.workload import notes
from tests import application

S = JobStatus
CONCURRENCY = 2


@pytest.fixture
async def onward(tmp_path: Path, anyio_backend: str, request: pytest.FixtureRequest) -> AsyncIterator[wiring.Runtime]:
    """One process that accepts and runs."""
    application.write(
        tmp_path,
        f"[server]\ndrain_s = 2\n[backends.background]\nconcurrency = {CONCURRENCY}\n"
        '[handlers]\nmodules = ["onward.testing.workload"]',
    )
    timings: Timings = getattr(request, "param", Timings())
    async with wiring.run_process(settings.load(tmp_path), Role.ACCEPT, timings=timings) as running:
        yield running


async def request(onward: wiring.Runtime, handlers: list[str], folder: Path, **params: Any) -> list[Job]:
    """Accept and deliver the jobs of one request, whose response has left."""
    later: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
    wanted = [{"handler": name, "params": {"folder": str(folder), **params}} for name in handlers]
    jobs = await node.accept(onward, wanted)

    def after_response(function: Callable[..., Any], *rest: Any) -> None:
        later.append((function, rest))

    await onward.dispatcher.deliver(jobs, after_response=after_response, in_order=True)
    assert notes(folder) == []  # not before the response has left
    for function, rest in later:
        await function(*rest)
    return jobs


async def ended(onward: wiring.Runtime, jobs: list[Job]) -> list[Job]:
    """Return the jobs once all have ended; they are asked for a few at a time, in their order."""
    done: dict[str, Job] = {}
    async with asyncio.timeout(60):
        while waiting := [job.id for job in jobs if job.id not in done]:
            found = await onward.database.read(lambda tx, some=waiting[:20]: ledger.get_many(tx, some))  # type: ignore[misc]
            done |= {job.id: job for job in found.values() if job.done}
            await asyncio.sleep(0.01)
    return [done[job.id] for job in jobs]


async def test_jobs_of_one_request_run_one_after_another_in_order(onward: wiring.Runtime, tmp_path: Path) -> None:
    """The second begins when the first has ended, although a slot is free."""
    (tmp_path / "fixed").touch()
    jobs = await ended(onward, await request(onward, ["conformance.steps"] * 5, tmp_path))
    assert {job.status for job in jobs} == {S.SUCCEEDED}
    assert [note.job for note in notes(tmp_path)] == [job.id for job in jobs for _ in range(3)]


@pytest.mark.parametrize(
    "onward",
    [Timings(local_claim_grace_s=1.0, slot_check_s=3600)],
    indirect=True,
    ids=["waited for long"],
)
async def test_a_job_waits_for_the_previous_one_of_its_request_however_long_it_runs(
    onward: wiring.Runtime, tmp_path: Path
) -> None:
    """Free slots claim another job from the ledger meanwhile, even if it has waited for less time."""
    jobs = await request(onward, ["conformance.wait", "conformance.note"], tmp_path)
    await until(lambda: bool(notes(tmp_path)))
    await asyncio.sleep(1.0)  # the grace, which alone keeps a job until the request's task begins
    (other := tmp_path / "other").mkdir()
    new = onward.dispatcher.prepare("conformance.note", {"folder": str(other)}, owner=None)
    nobodys = await onward.writer.run(lambda tx: ledger.accept(tx, new))
    onward.dispatcher.wake()
    assert (await ended(onward, [nobodys]))[0].status is S.SUCCEEDED
    assert [note.word for note in notes(tmp_path)] == ["started"]
    (tmp_path / "go").touch()
    assert {job.status for job in await ended(onward, jobs)} == {S.SUCCEEDED}
    assert [note.word for note in notes(tmp_path)] == ["started", "ended", "ran"]


async def test_a_failed_job_stops_no_other_job_of_its_request(onward: wiring.Runtime, tmp_path: Path) -> None:
    """Only first attempts are ordered: a job that is retried runs beside the others."""
    jobs = await request(
        onward, ["conformance.permanent", "conformance.note", "conformance.sys_exit", "conformance.note"], tmp_path
    )
    assert [job.status for job in await ended(onward, jobs)] == [S.FAILED, S.SUCCEEDED, S.FAILED, S.SUCCEEDED]


async def test_jobs_that_a_program_enqueues_run_side_by_side(onward: wiring.Runtime, tmp_path: Path) -> None:
    """A job that takes long keeps none of the others, as the children of a batch, waiting behind it."""
    wanted = [
        {"handler": f"conformance.{name}", "params": {"folder": str(tmp_path)}} for name in ("wait", "note", "note")
    ]
    jobs = await node.accept(onward, wanted)
    await onward.dispatcher.deliver(jobs, after_response=onward.dispatcher.defer)
    assert {job.status for job in await ended(onward, jobs[1:])} == {S.SUCCEEDED}
    (tmp_path / "go").touch()
    assert (await ended(onward, jobs[:1]))[0].status is S.SUCCEEDED


async def test_jobs_of_two_requests_run_side_by_side(onward: wiring.Runtime, tmp_path: Path) -> None:
    """A request's jobs do not wait for another request's."""
    waiting = await request(onward, ["conformance.wait"], tmp_path)
    (other := tmp_path / "other").mkdir()
    assert (await ended(onward, await request(onward, ["conformance.note"], other)))[0].status is S.SUCCEEDED
    (tmp_path / "go").touch()
    assert (await ended(onward, waiting))[0].status is S.SUCCEEDED


@pytest.mark.slow
async def test_a_waiting_job_needs_no_task(onward: wiring.Runtime, tmp_path: Path) -> None:
    """Four hundred jobs wait in two hundred requests without a task of their own, and the slots are not exceeded."""
    blocking = await request(onward, ["conformance.wait"], tmp_path) + await node.accept(
        onward, [{"handler": "conformance.wait", "params": {"folder": str(tmp_path)}}]
    )
    await until(lambda: len(notes(tmp_path)) == CONCURRENCY)
    before = len(asyncio.all_tasks())
    (other := tmp_path / "other").mkdir()
    jobs = [job for _ in range(200) for job in await request(onward, ["conformance.note"] * 2, other)]
    assert len(asyncio.all_tasks()) <= before + 2
    assert onward.runner.busy == CONCURRENCY
    (tmp_path / "go").touch()
    assert {job.status for job in await ended(onward, jobs + blocking)} == {S.SUCCEEDED}
    assert len(notes(other)) == len(jobs)


@pytest.mark.parametrize("onward", [Timings(change_poll_s=60.0)], indirect=True)
async def test_a_watcher_in_the_same_process_sees_the_end_without_polling(
    onward: wiring.Runtime, tmp_path: Path
) -> None:
    """A wake-up after the commit makes the reader look at once."""
    (job,) = await request(onward, ["conformance.wait"], tmp_path)
    async with onward.change_feed.watch_job(job.id) as watch, asyncio.timeout(30):
        (tmp_path / "go").touch()
        while not (await anext(watch)).done:
            pass


async def test_the_next_process_runs_the_jobs_that_one_left(tmp_path: Path, anyio_backend: str) -> None:
    """The first process stops with jobs waiting and running; the next one runs each, and charges none for the stop."""
    application.write(
        tmp_path,
        "[server]\ndrain_s = 1\n[backends.background]\nconcurrency = 2\n"
        '[handlers]\nmodules = ["onward.testing.workload"]',
    )
    loaded = settings.load(tmp_path)
    async with wiring.run_process(loaded, Role.ACCEPT) as first:
        jobs = await request(first, ["conformance.wait"] * 5, tmp_path)
        await until(lambda: bool(notes(tmp_path)))
    (tmp_path / "go").touch()
    async with wiring.run_process(loaded, Role.ACCEPT) as second:
        done = await ended(second, jobs)
    assert {job.status for job in done} == {S.SUCCEEDED}
    assert {job.counted_attempts for job in done} == {1}


async def test_a_step_that_ends_during_the_drain_is_recorded_and_the_next_one_is_not_started(
    onward: wiring.Runtime, tmp_path: Path
) -> None:
    """The process begins no further step; nothing is charged for the stop."""
    (job,) = await request(onward, ["conformance.steps_wait"], tmp_path)
    await until(lambda: [note.word for note in notes(tmp_path)] == ["first", "second"])
    draining = asyncio.ensure_future(onward.drain())
    await until(lambda: onward.runner.draining)
    (tmp_path / "go").touch()
    await draining
    waiting = await onward.database.read(lambda tx: ledger.get(tx, job.id))
    assert waiting is not None
    assert (waiting.status, waiting.counted_attempts) == (S.QUEUED, 0)
    assert [step.status for step in waiting.steps] == [StepStatus.SUCCEEDED, StepStatus.SUCCEEDED, StepStatus.PENDING]
    assert [note.word for note in notes(tmp_path)] == ["first", "second"]


@pytest.mark.parametrize(
    "onward", [Timings(slot_check_s=0.002, recheck_s=3600.0, local_claim_grace_s=0.0)], indirect=True
)
async def test_free_slots_claim_nothing_from_a_ledger_that_has_not_changed(
    onward: wiring.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of commits shows that; each change is followed by a claim."""
    looks: list[bool] = []
    has_changed = Revision.has_changed

    def look(revision: Revision) -> bool:
        looks.append(has_changed(revision))
        return looks[-1]

    await asyncio.sleep(2 * Timings().blocked_check_s)  # it has learnt that no handler has a limit
    monkeypatch.setattr(Revision, "has_changed", look)
    await until(lambda: looks.count(False) > 50)
    assert looks.count(True) < looks.count(False)  # heartbeats and the like are commits, too
    jobs = await node.accept(onward, [{"handler": "conformance.result", "params": {"kind": "nothing"}}])
    assert [job.status for job in await ended(onward, jobs)] == [S.SUCCEEDED]
