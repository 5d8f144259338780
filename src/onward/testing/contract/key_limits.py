"""Limits by key, as those of a customer."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

from onward.jobs import concurrency
from onward.jobs.states import JobStatus
from onward.testing.harness import IN_A_SECOND, Harness
from onward.testing.waiting import until
from onward.testing.workload import notes

S = JobStatus
SECOND_US = 1_000_000
RESCUE_S = 45.0
PAUSED = "conformance.shares"


def most_at_once(harness: Harness) -> dict[str, int]:
    """Return the most jobs of each key that have run at once; a killed one has not ended."""
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for note in notes(harness.folder):
        word, _, key = note.word.partition(":")
        running[key] += {"started": 1, "ended": -1}[word]
        most[key] = max(most[key], running[key])
    return dict(most)


async def _waits_for(harness: Harness, job_id: str) -> str | None:
    dispatcher = harness.front.dispatcher
    return dispatcher.waiting_for(await harness.get(job_id), await dispatcher.health())


class KeyLimits:
    async def test_the_limit_of_a_key_holds_over_all_processes(self, harness: Harness) -> None:
        """One job of each key runs at once, jobs of several keys beside each other, and all run in the end."""
        await harness.start_worker()
        folder = str(harness.folder)
        jobs = await asyncio.gather(
            *(harness.accept("conformance.keyed", folder=folder, key=key) for _ in range(6) for key in "abc")
        )
        for job in jobs:
            done = await harness.done(job)
            assert (done.status, len(done.attempts)) == (S.SUCCEEDED, 1)
        assert most_at_once(harness) == {"a": 1, "b": 1, "c": 1}
        assert {(await harness.get(job.id)).limit_key for job in jobs} == {f"conformance.keyed:{key}" for key in "abc"}

    async def test_a_long_backlog_of_one_key_delays_no_other(self, harness: Harness) -> None:
        """The backlog is not in line: its jobs name the key that they wait for, and run once it is free."""
        folder = str(harness.folder)
        first = await harness.accept("conformance.keyed", folder=folder, key="busy", waits=True)
        await harness.noted("started:busy")
        backlog = await harness.request(
            [{"handler": "conformance.keyed", "params": {"folder": folder, "key": "busy"}}] * 30
        )
        other = await harness.accept("conformance.keyed", folder=folder, key="idle")
        assert (await harness.done(other)).status is S.SUCCEEDED
        assert {(await harness.get(job.id)).blocked for job in backlog} == {concurrency.KEY}

        async def key_is_named() -> bool:
            words = "its turn: at most 1 of conformance.keyed run at once for busy"
            return await _waits_for(harness, backlog[-1].id) == words

        await until(key_is_named)
        for job in backlog[4:]:
            await harness.cancel(job)
        harness.say("go")
        for job in (first, *backlog[:4]):
            assert (await harness.done(job)).status is S.SUCCEEDED
        assert most_at_once(harness) == {"busy": 1, "idle": 1}

    async def test_handlers_share_a_limit_by_its_name(self, harness: Harness) -> None:
        """The parameters may have other names; a paused one leaves the places of a key to the other."""
        folder = str(harness.folder)
        jobs = []
        for _ in range(3):
            jobs.append(await harness.accept("conformance.shares", folder=folder, key="ann"))
            jobs.append(await harness.accept("conformance.shares_too", folder=folder, of="ann"))
        for job in jobs:
            assert (await harness.done(job)).status is S.SUCCEEDED
        assert most_at_once(harness) == {"ann": 1}
        await harness.front.writer.run(partial(concurrency.pause, handler=PAUSED, by=None))
        held = [await harness.accept(PAUSED, folder=folder, key="ann") for _ in range(3)]
        other = await harness.accept("conformance.shares_too", folder=folder, of="ann")
        assert (await harness.done(other)).status is S.SUCCEEDED
        await harness.front.writer.run(partial(concurrency.resume, handler=PAUSED))
        for job in held:
            assert (await harness.done(job)).status is S.SUCCEEDED
        assert most_at_once(harness) == {"ann": 1}

    async def test_retries_and_cancels_pass_the_place_of_a_key_on(self, harness: Harness) -> None:
        """A job that waits for its next attempt has no place; one that is retried by hand waits for one."""
        folder = str(harness.folder)
        jobs = [await harness.accept("conformance.keyed_fails", folder=folder, key="k", times=n) for n in (3, 1, 0, 9)]
        assert [(await harness.done(job)).status for job in jobs] == [S.SUCCEEDED] * 3 + [S.FAILED]
        assert most_at_once(harness) == {"k": 1}
        running = await harness.accept("conformance.keyed", folder=folder, key="c", waits=True)
        await harness.noted("started:c")
        waiting = [await harness.accept("conformance.keyed", folder=folder, key="c") for _ in range(3)]
        await harness.cancel(waiting[0])
        await harness.cancel(running)
        assert (await harness.done(running)).status is S.CANCELLED
        await harness.retry(waiting[0])
        for job in waiting:
            assert (await harness.done(job)).status is S.SUCCEEDED
        assert (harness.count("started:c"), harness.count("ended:c")) == (4, 3)

    async def test_the_places_of_a_killed_worker_s_keys_become_free(self, harness: Harness) -> None:
        """The job that was running goes on first, and no key ever has more claims than its limit."""
        (worker,) = harness.workers
        folder = str(harness.folder)
        jobs = [
            await harness.accept("conformance.keyed", folder=folder, key=key, waits=True)
            for _ in range(3)
            for key in "ab"
        ]
        await harness.noted("started:a")
        await harness.noted("started:b")
        await harness.start_worker()
        worker.kill()
        await harness.noted("started:a", 2, within_s=RESCUE_S)
        await harness.noted("started:b", 2, within_s=RESCUE_S)
        harness.say("go")
        for job in jobs:
            assert (await harness.done(job)).status is S.SUCCEEDED
        words = [note.word for note in notes(harness.folder)]
        for key in "ab":
            assert [word for word in words if word.endswith(key)] == [f"started:{key}"] + [
                f"started:{key}",
                f"ended:{key}",
            ] * 3

    async def test_no_period_has_more_starts_of_a_key_than_its_rate_allows(self, harness: Harness) -> None:
        """The rate of each key holds for any window of the ledger's clock; all jobs run in the end."""
        many = IN_A_SECOND + 4
        one = {"handler": "conformance.keyed_rate"}
        jobs = await harness.request(
            [{**one, "params": {"folder": str(harness.folder), "key": key}} for _ in range(many) for key in "ab"]
        )
        for at, key in enumerate("ab"):
            starts = sorted([(await harness.done(job)).attempts[-1].started_at for job in jobs[at::2]])
            assert harness.count(f"ran:{key}") == len(starts) == many
            assert all(last - first >= SECOND_US for first, last in zip(starts, starts[IN_A_SECOND:], strict=False))
