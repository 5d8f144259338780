"""The backend is changed in the settings while work is pending."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onward.jobs import ledger
from onward.jobs.states import JobStatus
from onward.testing.harness import ALL, Harness, open_harness
from onward.testing.workload import Approval, notes
from tests.contract.backend_fixtures import BackgroundFixture, DramatiqFixture, OnDatabase
from tests.servers import postgres_database

pytestmark = pytest.mark.slow

S = JobStatus


@pytest.fixture(params=["postgresql", pytest.param("sqlite", marks=pytest.mark.long)])
def database(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    with postgres_database(request.getfixturevalue("postgres_server_url")) as url:
        yield url


@pytest.mark.parametrize("direction", ["to dramatiq", "to background"])
async def test_pending_jobs_run_on_the_new_backend(
    tmp_path: Path, redis_url: str, database: str | None, direction: str
) -> None:
    """Jobs in every state finish, also between two steps; each effect is there once, and none is charged for it."""
    fixtures: list[OnDatabase] = [BackgroundFixture(database), DramatiqFixture(redis_url, database)]
    before, after = fixtures if direction == "to dramatiq" else reversed(fixtures)
    async with open_harness(before, tmp_path) as harness:
        pending = await _pending(harness)
        await harness.no_worker()
    async with open_harness(after, tmp_path) as harness:
        harness.say("go")
        harness.say("fixed")
        await harness.signal(await harness.get(pending["signalled"]), "approval", Approval(approved=True))
        await harness.start_worker()
        done = {name: await harness.done(await harness.get(job_id)) for name, job_id in pending.items()}
    assert {name: job.status for name, job in done.items()} == dict.fromkeys(pending, S.SUCCEEDED)
    words = [note.word for note in notes(tmp_path)]
    assert (words.count("first"), words.count("third"), words.count("ran"), words.count("ended")) == (1, 1, 12, 1)
    assert {job.backend for job in done.values()} == {before.name, after.name} - {before.name} | {after.name}
    assert all(attempt.counts_as_attempt for job in done.values() for attempt in job.attempts[-1:])
    assert done["half done"].counted_attempts == 1


async def _pending(harness: Harness) -> dict[str, str]:
    """Create work in every state that a stop can find it in, by its name."""
    folder = str(harness.folder)
    await harness.start_worker()
    now = await harness.front.database.read(lambda tx: tx.now)
    found = {
        "half done": await harness.accept("conformance.steps_wait", folder=folder),
        "running": await harness.accept("conformance.wait", folder=folder),
        "retrying": await harness.accept("conformance.fail_slowly", folder=folder),
        "signalled": await harness.accept("conformance.approval", folder=folder),
        "scheduled": await harness.accept("conformance.note", run_at=now + 5_000_000, folder=folder),
        "scheduled for soon": await harness.accept("conformance.note", run_at=now + 1_500_000, folder=folder),
    }
    await harness.noted("second")
    await harness.noted("started")
    await harness.is_now(found["retrying"], S.RETRYING)
    await harness.is_now(found["signalled"], S.WAITING)
    await harness.no_worker()
    for n in range(10):
        found[f"waiting {n}"] = await harness.accept("conformance.note", folder=folder)
    counts = await harness.front.database.read(lambda tx: ledger.counts(tx, visible=ALL))
    assert counts[S.RUNNING] == counts[S.SUCCEEDED] == 0
    return {name: job.id for name, job in found.items()}
