"""Subscriptions in another process than the one that runs the job."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from contextlib import aclosing

from onward.jobs.following import follow
from onward.jobs.model import Job, Visible
from onward.jobs.position import Position, Snapshot
from onward.jobs.states import MOVES, JobStatus
from onward.testing.harness import Harness

S = JobStatus
SOON_S = 5.0


async def _watched(harness: Harness, job: Job) -> list[Job]:
    """Collect the job's snapshots until its end, beginning with the present one."""
    async with harness.front.change_feed.watch_job(job.id) as watch, asyncio.timeout(10):
        seen = [await harness.get(job.id)]
        while not seen[-1].done:
            change = await anext(watch)
            if (
                len(seen) > 1 or change.version > seen[0].version
            ):  # a change from before the first read may still arrive
                seen.append(change)
    return seen


async def _followed(harness: Harness, seen: dict[str, Job], since: Position, enough: Callable[[], bool]) -> Position:
    """Collect the newest snapshot of each job until there is enough; return the position of the last one."""
    front = harness.front
    following = follow(front.change_feed, front.database.read, visible=Visible(everything=True), since=since)
    async with asyncio.timeout(15), aclosing(following) as changes:
        while not enough():
            job, since = await anext(changes)
            assert job.id not in seen or seen[job.id].version <= job.version
            seen[job.id] = job
    return since


class Watching:
    async def test_a_watcher_sees_growing_versions_up_to_the_end(self, harness: Harness) -> None:
        """Each snapshot is newer than the one before, and the last one is the job as it ended."""
        seen = await _watched(harness, await harness.accept("conformance.fail", folder=str(harness.folder), times=2))
        versions = [job.version for job in seen]
        assert versions == sorted(set(versions))
        assert seen[-1] == await harness.get(seen[-1].id)
        assert seen[-1].status is S.SUCCEEDED
        reachable = {S.QUEUED, *MOVES[S.QUEUED], *MOVES[S.RUNNING]}
        assert {job.status for job in seen} <= reachable

    async def test_a_watcher_knows_of_the_end_soon(self, harness: Harness) -> None:
        """The median delay of seven jobs, from commit to subscriber, is about 0.1 s on a quiet machine."""
        lags = []
        for _ in range(7):
            last = (await _watched(harness, await harness.accept("conformance.note", folder=str(harness.folder))))[-1]
            assert last.finished_at is not None
            lags.append(time.time() - last.finished_at / 1_000_000)
        assert statistics.median(lags) < SOON_S, lags

    async def test_a_watcher_sees_progress_while_the_job_runs(self, harness: Harness) -> None:
        """Two hundred reports within a second become some ten growing changes, and the last report is kept."""
        seen = await _watched(harness, await harness.accept("conformance.progress", of=200))
        last = seen[-1]
        assert last.started_at is not None
        assert last.finished_at is not None
        reported = [job.progress.completed for job in seen if job.progress is not None and not job.done]
        assert len(set(reported)) >= 3, reported
        assert reported == sorted(reported)
        assert last.progress is not None
        assert (last.progress.completed, last.progress.total, last.progress.message) == (200, 200, "200 of 200")
        written = last.version - 3  # accepted, claimed, ended
        assert written <= 10 * (last.finished_at - last.started_at) / 1_000_000 + 1

    async def test_a_watcher_of_all_jobs_misses_no_end(self, harness: Harness) -> None:
        """The subscriber sees the end of each of fifty jobs."""
        one = {"handler": "conformance.note", "params": {"folder": str(harness.folder)}}
        async with harness.front.change_feed.watch_all() as watch, asyncio.timeout(15):
            waiting = {job.id for job in await harness.request([one] * 50)}
            while waiting:
                job = await anext(watch)
                if job.done:
                    waiting.discard(job.id)

    async def test_a_watcher_that_comes_back_gets_what_it_has_missed(self, harness: Harness) -> None:
        """Cut off after a few changes, while the jobs end, the watcher goes on from its last position."""
        position = (await harness.front.database.read(Snapshot.of)).position
        one = {"handler": "conformance.note", "params": {"folder": str(harness.folder)}}
        jobs = await harness.request([one] * 10)
        seen: dict[str, Job] = {}
        position = await _followed(harness, seen, position, lambda: len(seen) > 2)
        for job in jobs:
            await harness.done(job)
        await _followed(harness, seen, position, lambda: all(job.id in seen and seen[job.id].done for job in jobs))
        assert {job.id: seen[job.id] for job in jobs} == {job.id: await harness.get(job.id) for job in jobs}
