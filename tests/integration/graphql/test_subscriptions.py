"""Subscriptions to changes of jobs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.integration.graphql.conftest import until
from tests.integration.graphql.test_sse import Events, events
from tests.integration.graphql.test_websocket import client, mutate

JOB = "subscription($id: ID!, $v: Int) { jobUpdated(id: $id, afterVersion: $v) { id status version done } }"
JOBS = "subscription($filter: JobFilter) { jobsUpdated(filter: $filter) { id status version } }"
LATER = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


async def run(address: str, query: str, **variables: Any) -> Any:
    async with httpx2.AsyncClient() as http:
        response = await http.post(f"http://{address}/graphql", json={"query": query, "variables": variables})
    return response.json()["data"]


async def cancel(address: str, job: str) -> None:
    await run(address, "mutation($id: ID!) { cancelJob(input: {id: $id}) { errors { code } } }", id=job)


async def job(address: str, id_: str) -> Any:
    return (await run(address, "query($id: ID!) { job(id: $id) { status version done } }", id=id_))["job"]


async def ended(address: str, id_: str) -> Any:
    async def done() -> Any:
        found = await job(address, id_)
        return found if found["done"] else None

    return await until(done)


@asynccontextmanager
async def watching(address: str, query: str, **variables: Any) -> AsyncIterator[Events]:
    async with events(address, {"query": query, "variables": variables}) as stream:
        yield stream


async def opened(address: str, stream: Events) -> set[str]:
    """Create jobs until the feed shows one; return them, so that the test can ignore them."""
    made: set[str] = set()
    first = asyncio.create_task(stream.next())
    while not first.done():
        made.add(await mutate(address, runAt=LATER))
        await asyncio.wait({first}, timeout=0.05)
    assert first.result()["data"]["jobsUpdated"]["id"] in made, "a feed has no first state"
    return made


async def upcoming(stream: Events, overlooked: set[str]) -> Any:
    while (state := (await stream.next())["data"]["jobsUpdated"])["id"] in overlooked:
        pass
    return state


async def test_a_waiting_job_gives_its_state_then_each_change_and_ends_with_the_terminal_one(address: str) -> None:
    id_ = await mutate(address, runAt=LATER)
    async with watching(address, JOB, id=id_) as stream:
        assert (await stream.next())["data"]["jobUpdated"] == {
            "id": id_,
            "status": "SCHEDULED",
            "version": 1,
            "done": False,
        }
        await cancel(address, id_)
        assert (await stream.next())["data"]["jobUpdated"] == {
            "id": id_,
            "status": "CANCELLED",
            "version": 2,
            "done": True,
        }
        assert await stream.next() is None


async def test_versions_grow_and_the_terminal_state_is_never_missed(address: str) -> None:
    async def watched(n: int) -> list[Any]:
        id_ = await mutate(address, f"item {n}")
        async with watching(address, JOB, id=id_) as stream:
            return [e["data"]["jobUpdated"] async for e in stream]

    for seen in await asyncio.gather(*(watched(n) for n in range(10))):
        versions = [state["version"] for state in seen]
        assert versions == sorted(set(versions))
        assert [state["done"] for state in seen] == [False] * (len(seen) - 1) + [True]


@pytest.mark.parametrize("after", [None, 0, 1, 10_000])
async def test_a_terminal_job_gives_its_snapshot_and_completes_for_any_after_version(
    address: str, after: int | None
) -> None:
    id_ = await mutate(address)
    found = await ended(address, id_)
    async with watching(address, JOB, id=id_, v=after) as stream:
        assert [e["data"]["jobUpdated"]["version"] async for e in stream] == [found["version"]]


async def test_after_a_version_only_later_ones_come(address: str) -> None:
    id_ = await mutate(address, runAt=LATER)
    async with watching(address, JOB, id=id_, v=1) as stream:
        await cancel(address, id_)
        assert (await stream.next())["data"]["jobUpdated"]["version"] == 2


@pytest.mark.parametrize("id_", ["job_0", "nope", ""])
async def test_an_unknown_job_is_an_error_and_ends_the_stream(address: str, id_: str) -> None:
    async with watching(address, JOB, id=id_) as stream:
        [event] = [e async for e in stream]
    assert event["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    async with client(address) as c:
        [error, complete] = await c.run(JOB, id=id_)
    assert error["payload"]["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert complete["type"] == "complete"


async def test_the_feed_has_no_first_state_and_shows_changes(address: str) -> None:
    before = await mutate(address, runAt=LATER)
    async with watching(address, JOBS, filter={"handler": ["steps.*"]}) as stream:
        overlooked = await opened(address, stream)
        made = await mutate(address, runAt=LATER)
        assert await upcoming(stream, overlooked) == {"id": made, "status": "SCHEDULED", "version": 1}
        await cancel(address, before)
        assert await upcoming(stream, overlooked) == {"id": before, "status": "CANCELLED", "version": 2}


async def test_a_job_is_shown_once_more_when_it_leaves_the_filter(address: str) -> None:
    early = await mutate(address, runAt=LATER)
    async with watching(address, JOBS, filter={"status": ["SCHEDULED"]}) as stream:
        overlooked = await opened(address, stream)
        outside = await mutate(address)
        await ended(address, outside)
        late = await mutate(address, runAt=LATER)
        assert await upcoming(stream, overlooked) == {"id": late, "status": "SCHEDULED", "version": 1}
        for job_id in (late, early):
            await cancel(address, job_id)
            assert await upcoming(stream, overlooked) == {"id": job_id, "status": "CANCELLED", "version": 2}


async def test_an_invalid_filter_is_an_error(address: str) -> None:
    async with watching(address, JOBS, filter={"handler": [""]}) as stream:
        assert (await stream.next())["errors"][0]["extensions"]["code"] == "INVALID"
        assert await stream.next() is None
