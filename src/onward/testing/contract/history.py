"""The history of handlers."""

from __future__ import annotations

from collections import Counter

from onward.jobs import stats
from onward.jobs.history_rows import COUNTS
from onward.jobs.states import JobStatus
from onward.jobs.stats_step import HOUR_US
from onward.testing.harness import FAR_AWAY_S, Harness

S = JobStatus


async def counted(harness: Harness) -> Counter[str]:
    """Return what the history says of all handlers together."""
    found = await harness.front.database.read(
        lambda tx: stats.stats(tx, stats.Span(tx.now - 24 * HOUR_US, tx.now + HOUR_US))
    )
    return Counter({name: sum(one.counts[name] for one in found) for name in COUNTS})


class History:
    async def test_the_history_agrees_with_the_jobs(self, harness: Harness) -> None:
        """Each job and each attempt is counted once, by its end."""
        folder, before = str(harness.folder), await counted(harness)
        far = await harness.front.database.read(lambda tx: tx.now) + int(FAR_AWAY_S) * 1_000_000
        jobs = [
            await harness.accept("conformance.note", folder=folder),
            await harness.accept("conformance.fail", folder=folder, times=2),
            await harness.accept("conformance.permanent", folder=folder),
            await harness.accept("conformance.note", run_at=far, folder=folder),
            await harness.accept("conformance.wait", folder=folder),
        ]
        await harness.noted("started")
        for job in jobs[3:]:
            await harness.cancel(job)
        done = [await harness.done(job) for job in jobs]
        ends = Counter(job.status for job in done)
        assert (ends[S.SUCCEEDED], ends[S.FAILED], ends[S.CANCELLED]) == (2, 1, 2)
        assert await counted(harness) - before == Counter(
            enqueued=5, started=sum(job.attempt for job in done), succeeded=2, failed=1, cancelled=2, retried=2
        )
