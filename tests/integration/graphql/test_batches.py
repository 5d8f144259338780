"""Batches in GraphQL: what a viewer sees of them, and what she may do."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from onward import BatchRequest, JobRequest, batch
from onward.graphql import batch_states
from onward.jobs import batch_children, batches, commands, ledger
from onward.jobs.batch_making import Making
from onward.jobs.model import EVERYTHING, Job, NewJob
from onward.jobs.states import JobStatus
from onward.runtime.wiring import Runtime
from onward.storage import tables
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from tests.integration.graphql.conftest import Api, until
from tests.integration.graphql.test_viewers import ask, behind_tokens, header

LATER_US = 9_000_000_000_000_000
ADA, BOB, ADMIN = header("ada"), header("bob"), header("root", "admin")
ITEM = JobRequest("steps.process_item", {"item": "x"})
BATCH = "id done total counts { status count } then { id } createdAt finishedAt"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with behind_tokens(tmp_path) as api:
        yield api


def runtime(api: Api) -> Runtime:
    found: Runtime = api.app.state.onward
    return found


def prepared(api: Api, **values: Any) -> NewJob:
    """Return a job of ada's that waits."""
    new = runtime(api).dispatcher.prepare(ITEM.handler, ITEM.params, owner="ada", run_at=LATER_US)
    return replace(new, **values)


async def accept(api: Api, **values: Any) -> Job:
    new = prepared(api, **values)
    return await runtime(api).writer.run(lambda tx: ledger.accept(tx, new))


async def accept_batch(api: Api, request: BatchRequest) -> str:
    ids = runtime(api).database.ids
    made = Making(
        request,
        prepare=lambda _: prepared(api, id=ids.next("job", 0)),
        new_id=lambda kind: ids.next(kind, 0),
        owner="ada",
    )
    for _ in made:
        pass
    await runtime(api).writer.run(lambda tx: made.accept(tx, ledger.accept))
    return made.id


async def cancel(api: Api, job_id: str) -> None:
    await runtime(api).writer.run(lambda tx: commands.cancel(tx, job_id, reason=None, visible=EVERYTHING))


async def test_a_viewer_sees_no_batch_of_others(api: Api) -> None:
    batch_id = await accept_batch(api, batch([ITEM]))
    his = await accept(api, owner="bob", batch=batch_id, position=7)
    query = "query($id: ID!) { job(id: $id) { batch { id } } }"
    assert (await ask(api, BOB, query, id=his.id))["data"]["job"] == {"batch": None}
    assert (await ask(api, ADMIN, query, id=his.id))["data"]["job"] == {"batch": {"id": batch_id}}
    node = "query($id: ID!) { node(id: $id) { id ... on Batch { total } } }"
    assert (await ask(api, BOB, node, id=batch_id))["data"]["node"] is None
    assert (await ask(api, ADA, node, id=batch_id))["data"]["node"] == {"id": batch_id, "total": 1}
    for command in ("cancelBatch", "retryBatch"):
        change = f"mutation($id: ID!) {{ {command}(input: {{id: $id}}) {{ errors {{ code }} }} }}"
        for who, code in ((BOB, "NOT_FOUND"), ({}, "NOT_ALLOWED")):
            refused = await ask(api, who, change, id=batch_id)
            assert refused["data"][command]["errors"] == [{"code": code}]


async def test_a_batch_is_cancelled_and_retried(api: Api) -> None:
    batch_id = await accept_batch(api, batch([ITEM] * 3, then=ITEM))
    query = f"query($id: ID!) {{ node(id: $id) {{ ... on Batch {{ {BATCH} }} }} }}"

    async def state() -> Any:
        return (await ask(api, ADA, query, id=batch_id))["data"]["node"]

    def counts(found: Any) -> dict[str, int]:
        return {one["status"]: one["count"] for one in found["counts"] if one["count"]}

    async def over() -> Any:
        return found if (found := await state())["done"] else None

    found = await state()
    assert (found["done"], found["total"], counts(found), found["then"]) == (False, 3, {"SCHEDULED": 3}, None)
    change = "mutation($id: ID!) { %s(input: {id: $id}) { batch { id done } errors { code message path } } }"
    too_early = (await ask(api, ADA, change % "retryBatch", id=batch_id))["data"]["retryBatch"]
    assert too_early["errors"] == [
        {"code": "CONFLICT", "message": "The batch is not over; only one that is can be retried.", "path": ["id"]}
    ]
    cancelled = (await ask(api, ADA, change % "cancelBatch", id=batch_id))["data"]["cancelBatch"]
    assert cancelled == {"batch": {"id": batch_id, "done": False}, "errors": []}
    found = await until(over)
    assert (counts(found), found["then"], found["finishedAt"] is not None) == ({"CANCELLED": 3}, None, True)
    again = (await ask(api, ADA, change % "cancelBatch", id=batch_id))["data"]["cancelBatch"]
    assert again["errors"][0]["code"] == "CONFLICT"
    retried = (await ask(api, ADA, change % "retryBatch", id=batch_id))["data"]["retryBatch"]
    assert retried == {"batch": {"id": batch_id, "done": False}, "errors": []}
    found = await until(over)
    assert (counts(found), found["then"] is not None) == ({"SUCCEEDED": 3}, True)
    unknown = (await ask(api, ADA, change % "cancelBatch", id="job_1"))["data"]["cancelBatch"]
    assert unknown["errors"][0]["code"] == "NOT_FOUND"


async def test_a_cancelled_batch_is_retried_though_its_children_have_succeeded_since(api: Api) -> None:
    """Each was retried as a single job."""
    batch_id = await accept_batch(api, batch([ITEM] * 2, then=ITEM))
    query = "query($id: ID!) { node(id: $id) { ... on Batch { done canRetryBatch then { status } } } }"
    change = "mutation($id: ID!) { %s(input: {id: $id}) { batch { canRetryBatch } errors { message } } }"

    async def found() -> Any:
        return (await ask(api, ADA, query, id=batch_id))["data"]["node"]

    async def over() -> bool:
        return bool((await found())["done"])

    assert await found() == {"done": False, "canRetryBatch": False, "then": None}
    await ask(api, ADA, change % "cancelBatch", id=batch_id)
    await until(over)
    children = sa.select(jobs.c.id).where(jobs.c.batch == batch_id)
    unfinished = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.finished_at.is_(None))
    retry_one = "mutation($id: ID!) { retryJob(input: {id: $id}) { errors { message } } }"
    for job_id in await runtime(api).database.read(lambda tx: tx.scalars(children)):
        assert (await ask(api, ADA, retry_one, id=job_id))["data"]["retryJob"]["errors"] == []

    async def none_runs() -> bool:
        return not await runtime(api).database.read(lambda tx: tx.scalar(unfinished))

    await until(none_runs)
    assert await found() == {"done": True, "canRetryBatch": True, "then": None}
    retried = (await ask(api, ADA, change % "retryBatch", id=batch_id))["data"]["retryBatch"]
    assert retried == {"batch": {"canRetryBatch": False}, "errors": []}
    await until(over)
    await until(none_runs)
    assert await found() == {"done": True, "canRetryBatch": False, "then": {"status": "SUCCEEDED"}}


async def test_a_batch_and_its_jobs_say_why_they_were_cancelled(api: Api) -> None:
    """Until they are retried. A failure that stops a batch is the reason of its jobs, and the batch's own state."""
    query = """query($id: ID!) {
        node(id: $id) { ... on Batch { state reason done } } jobs(filter: {batch: $id}) { nodes { id reason } } }"""

    async def look(batch_id: str) -> Any:
        return (await ask(api, ADA, query, id=batch_id))["data"]

    async def over(batch_id: str) -> Any:
        found = await until(lambda: _over(batch_id))
        return found["node"]["state"], found["node"]["reason"], [job["reason"] for job in found["jobs"]["nodes"]]

    async def _over(batch_id: str) -> Any:
        return found if (found := await look(batch_id))["node"]["done"] else None

    first = await accept_batch(api, batch([ITEM] * 2))
    change = "mutation($id: ID!) { %s { errors { message } } }"
    for command in ('cancelBatch(input: {id: $id, reason: "sold out"})', "retryBatch(input: {id: $id})"):
        assert (await ask(api, ADA, change % command, id=first))["data"].popitem()[1] == {"errors": []}
        assert await over(first) == (
            ("CANCELLED", "sold out", ["sold out"] * 2) if "cancel" in command else ("DONE", None, [None] * 2)
        )
    second = await accept_batch(api, batch([ITEM] * 3, on_failure=ITEM))
    nodes = (await look(second))["jobs"]["nodes"]
    await cancel(api, nodes[0]["id"])
    assert await over(second) == ("STOPPED", None, [None, batches.STOPPED_WITH, batches.STOPPED_WITH])


async def test_admins_see_the_newest_batches(api: Api) -> None:
    """Page after page, without those in another batch."""
    dispatcher = await accept(api)
    made = [await accept_batch(api, batch([ITEM, batch([ITEM])])) for _ in range(3)]
    by_job = sa.update(tables.batches).where(tables.batches.c.id == made[1]).values(job=dispatcher.id)
    await runtime(api).writer.run(lambda tx: tx.execute(by_job))
    query = "query($first: Int!, $after: ID) { batches(first: $first, after: $after) { id total job { id } } }"

    async def page(who: dict[str, str], first: int, after: str | None = None) -> Any:
        return (await ask(api, who, query, first=first, after=after))["data"]["batches"]

    found = await page(ADMIN, 2)
    assert found == [
        {"id": made[2], "total": 2, "job": None},
        {"id": made[1], "total": 2, "job": {"id": dispatcher.id}},
    ]
    assert [one["id"] for one in await page(ADMIN, 2, made[1])] == [made[0]]
    assert await page(ADMIN, 0) == await page(ADA, 2) == await page({}, 2) == []
    for variables in ({"first": 201}, {"first": 2, "after": "batch_\0"}):
        (refused,) = (await ask(api, ADMIN, query, **variables))["errors"]
        assert refused["extensions"]["code"] == "INVALID"


async def test_a_batch_is_watched_to_its_end(api: Api) -> None:
    query = f"subscription($id: ID!) {{ batchUpdated(id: $id) {{ {BATCH} }} }}"
    batch_id = await accept_batch(api, batch([ITEM] * 2, then=ITEM))

    async def watched(who: dict[str, str], id_: str) -> list[Any]:
        body = {"query": query, "variables": {"id": id_}}
        response = await api.post(body, headers={**who, "accept": "text/event-stream"})
        lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: {")]
        return [json.loads(line) for line in lines]

    watching = asyncio.create_task(watched(ADA, batch_id))
    await asyncio.sleep(0.3)
    for job_id in await runtime(api).database.read(lambda tx: tx.scalars(sa.select(jobs.c.id))):
        await cancel(api, job_id)
    found = [event["data"]["batchUpdated"] for event in await watching]
    assert [one["done"] for one in found] == [*[False] * (len(found) - 1), True]
    assert (len(found) > 1, found[-1]["then"] is not None) == (True, True)
    assert [event["data"]["batchUpdated"] for event in await watched(ADA, batch_id)] == found[-1:]
    for who, id_ in ((BOB, batch_id), (ADA, "batch_1"), (ADA, "job_1")):
        (refused,) = await watched(who, id_)
        assert refused["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_subscriptions_of_a_batch_share_its_counts_and_strangers_cause_none(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = f"subscription($id: ID!) {{ batchUpdated(id: $id) {{ {BATCH} }} }}"
    batch_id = await accept_batch(api, batch([ITEM] * 2))
    counted, counts = list[str](), batch_children.counts

    def noted(tx: Tx, found: batches.Batch) -> dict[JobStatus, int]:
        counted.append(found.id)
        return counts(tx, found)

    monkeypatch.setattr(batch_children, "counts", noted)

    async def events(who: dict[str, str]) -> int:
        body = {"query": query, "variables": {"id": batch_id}}
        response = await api.post(body, headers={**who, "accept": "text/event-stream"})
        return sum("batchUpdated" in line and line.startswith("data: {") for line in response.text.splitlines())

    await events(BOB)
    assert counted == []
    watching = [asyncio.create_task(events(ADA)) for _ in range(8)]
    await asyncio.sleep(0.3)
    for job_id in await runtime(api).database.read(lambda tx: tx.scalars(sa.select(jobs.c.id))):
        await cancel(api, job_id)
    sent = sum(await asyncio.gather(*watching))
    assert sent >= 2 * len(watching)
    assert len(counted) < len(watching)


async def end(tasks: list[asyncio.Task[None]]) -> None:
    for one in tasks:
        one.cancel()
    await asyncio.wait(tasks)


async def test_batches_that_take_long_to_count_leave_the_ledger_to_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries of all callers get their turn, and so do the server's own reads."""
    go, started, counted = threading.Event(), list[str](), batch_states._counted

    def held(tx: Tx, *, batch_id: str) -> batch_states.Counted:
        started.append(batch_id)
        assert go.wait(60)
        return counted(tx, batch_id=batch_id)

    async def watch(batch_id: str) -> None:
        query = f'subscription {{ batchUpdated(id: "{batch_id}") {{ id }} }}'
        await api.post({"query": query}, headers={**ADA, "accept": "text/event-stream"})

    monkeypatch.setattr(batch_states, "_counted", held)
    *ids, last = [await accept_batch(api, batch([ITEM])) for _ in range(9)]
    watching = [asyncio.create_task(watch(batch_id)) for batch_id in ids]
    try:
        async with asyncio.timeout(20):
            while not started:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)  # in which the others would begin
            for who in (ADA, BOB):
                assert "errors" not in await ask(api, who, "{ jobs(first: 1) { nodes { id } } }")
            assert (await api.http.get("/health/ready")).status_code == 200
            assert len(started) == 1
            await end(watching)
            go.set()
            watching = [asyncio.create_task(watch(last))]
            while len(started) < 2:
                await asyncio.sleep(0.01)
        assert started[1:] == [last], "those that nobody follows any more are not counted"
    finally:
        go.set()
        await end(watching)


@pytest.mark.parametrize("limit", [2, 3])
async def test_jobs_of_batches_in_a_batch_count_for_the_limit_of_a_retry(tmp_path: Path, limit: int) -> None:
    retry = "mutation($id: ID!) { retryBatch(input: {id: $id}) { errors { code } } }"
    async with behind_tokens(tmp_path, gql={"limits": {"open_jobs": limit}}) as api:
        batch_id = await accept_batch(api, batch([batch([ITEM] * 3)]))
        cancel_it = "mutation($id: ID!) { cancelBatch(input: {id: $id}) { errors { code } } }"
        assert (await ask(api, ADA, cancel_it, id=batch_id))["data"]["cancelBatch"]["errors"] == []

        async def over() -> bool:
            found = await runtime(api).database.read(lambda tx: batches.get(tx, batch_id))
            return found is not None and found.done

        await until(over)
        errors = (await ask(api, ADA, retry, id=batch_id))["data"]["retryBatch"]["errors"]
        assert errors == ([] if limit == 3 else [{"code": "RATE_LIMITED"}])
