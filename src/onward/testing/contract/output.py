"""Output that handlers emit while they run, for a reader in another process."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from onward.jobs.following import follow_output
from onward.jobs.model import Job, JobChunk, Visible
from onward.jobs.states import JobStatus
from onward.testing.contract.crashes import RESCUE_S
from onward.testing.harness import Harness

S = JobStatus
CHUNKS = 200
TIMEOUT_S = 20.0


async def _read(harness: Harness, job: Job, got: list[JobChunk], most: int | None = None) -> None:
    """Add the job's chunks behind the last one to the list, until its end, or until there are so many."""
    front, after = harness.front, got[-1].offset if got else None
    following = follow_output(
        front.change_feed, front.database.read, job.id, visible=Visible(everything=True), after=after
    )
    async with asyncio.timeout(TIMEOUT_S if most is not None else RESCUE_S), aclosing(following) as chunks:
        async for chunk in chunks:
            assert not got or chunk.offset == got[-1].offset + 1
            got.append(chunk)
            if most is not None and len(got) >= most:
                return


def _of(got: list[JobChunk], attempt: int) -> list[Any]:
    return [chunk.data for chunk in got if chunk.attempt == attempt]


class Streaming:
    async def test_a_reader_gets_every_chunk_once_and_in_order(self, harness: Harness) -> None:
        """Cut off twice, the reader goes on behind its last chunk, and ends with the job, whose last chunk it has."""
        job = await harness.accept("conformance.emits", folder=str(harness.folder), chunks=CHUNKS)
        got: list[JobChunk] = []
        await _read(harness, job, got, 20)
        await _read(harness, job, got, CHUNKS)
        await harness.noted("second")
        reading = asyncio.ensure_future(_read(harness, job, got))
        harness.say("go")
        await reading
        assert (await harness.get(job.id)).status is S.SUCCEEDED
        assert _of(got, 1) == [*(f"{n} " for n in range(CHUNKS)), {"second": 1}, "the end"]

    async def test_the_output_of_each_attempt_is_told_apart(self, harness: Harness) -> None:
        """An attempt that fails has emitted what it has, and the next one emits behind it."""
        job = await harness.accept("conformance.emit_and_fail", times=1)
        got: list[JobChunk] = []
        await _read(harness, job, got)
        assert [(chunk.offset, chunk.attempt, chunk.data) for chunk in got] == [
            (0, 1, "attempt 1"),
            (1, 1, "its last word"),
            (2, 2, "attempt 2"),
            (3, 2, "its last word"),
        ]

    async def test_a_handler_in_a_process_of_its_own_emits_as_any_other(self, harness: Harness) -> None:
        job = await harness.accept("conformance.emit_apart", chunks=CHUNKS)
        got: list[JobChunk] = []
        await _read(harness, job, got)
        assert (await harness.get(job.id)).status is S.SUCCEEDED
        assert _of(got, 1) == list(range(CHUNKS))

    async def test_a_reader_goes_on_when_the_worker_of_a_stream_is_killed(self, harness: Harness) -> None:
        """The next attempt emits behind what is there; of the finished step no chunk is missing or repeated."""
        (worker,) = harness.workers
        job = await harness.accept("conformance.emits", folder=str(harness.folder), chunks=CHUNKS)
        got: list[JobChunk] = []
        reading = asyncio.ensure_future(_read(harness, job, got))
        await harness.noted("second")
        await harness.start_worker()
        worker.kill()
        await harness.noted("second", 2, within_s=RESCUE_S)
        harness.say("go")
        await reading
        assert (await harness.get(job.id)).status is S.SUCCEEDED
        first, second = _of(got, 1), _of(got, 2)
        assert first[:CHUNKS] == [f"{n} " for n in range(CHUNKS)]
        assert first[CHUNKS:] in ([], [{"second": 1}])
        assert second == [{"second": 2}, "the end"]
