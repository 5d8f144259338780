"""Unique jobs of mutations: `replayed`, and nothing of other viewers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from onward.jobs.states import JobStatus
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.testing import app
from onward.testing.app import TestApp
from tests.integration.graphql.test_handler_mutations import SECRET, bearer, send

TABLES: dict[str, Any] = {
    "handlers": {"modules": ["tests.integration.unique_handlers"]},
    "secrets": {"keys": [Fernet.generate_key().decode()]},
    "auth": {"mode": "jwt", "jwt": {"secret": SECRET}},
    "gql": {"limits": {"open_jobs": 2}},
}
RETRY = "mutation($id: ID!) { retryJob(input: {id: $id}) { job { id status } errors { code message path } } }"


@pytest.fixture
async def reports(tmp_path: Path) -> AsyncIterator[TestApp]:
    async with app.running("recording", tmp_path, TABLES) as running:
        running._client.headers["authorization"] = bearer("ada")
        yield running


async def end(reports: TestApp, status: JobStatus) -> None:
    """Put all jobs into that status."""

    def change(tx: Tx) -> None:
        for before, owner in tx.all(sa.select(jobs.c.status, jobs.c.owner)):
            tx.count(owner, before, -1)
            tx.count(owner, status, 1)
        tx.execute(sa.update(jobs).values(status=status.value))

    await reports.onward.writer.run(change)


async def test_the_second_mutation_is_answered_with_the_first_job(reports: TestApp) -> None:
    first = await send(reports, "reportMake", month=1, words="a")
    again = await send(reports, "reportMake", month=1, words="b")
    other = await send(reports, "reportMake", month=2)
    assert (first["replayed"], again["replayed"], other["replayed"]) == (False, True, False)
    assert again["job"]["id"] == first["job"]["id"] != other["job"]["id"]
    assert [delivery.job_id for delivery in reports.delivered] == [first["job"]["id"], other["job"]["id"]]


async def test_many_at_the_same_moment_make_one_job(reports: TestApp) -> None:
    payloads = await asyncio.gather(*(send(reports, "reportMake", month=1) for _ in range(20)))
    assert len({payload["job"]["id"] for payload in payloads}) == 1
    assert sorted(payload["replayed"] for payload in payloads) == [False] + [True] * 19


async def test_a_debounced_mutation_replaces_the_parameters(reports: TestApp) -> None:
    first = await send(reports, "reportIndex", month=1, words="a")
    again = await send(reports, "reportIndex", month=1, words="b")
    assert (again["replayed"], again["job"]["id"]) == (True, first["job"]["id"])
    job = await reports.job(first["job"]["id"])
    assert (job.status, job.params["words"], job.version) == (JobStatus.SCHEDULED, "b", 2)
    assert reports.delivered == []


async def test_another_viewer_s_job_stays_unknown(reports: TestApp) -> None:
    first = await send(reports, "reportAll")
    assert (await send(reports, "reportAll"))["replayed"] is True
    own = await send(reports, "reportMake", month=1)
    reports._client.headers["authorization"] = bearer("bob")
    for key in (None, "k"):
        refused = await send(reports, "reportAll", idempotencyKey=key)
        assert [error["code"] for error in refused["errors"]] == ["CONFLICT"]
        assert (refused["job"], refused["replayed"]) == (None, False)
        assert first["job"]["id"] not in str(refused)
    theirs = await send(reports, "reportMake", month=1)
    assert (theirs["replayed"], theirs["job"]["id"] == own["job"]["id"]) == (False, False)
    await end(reports, JobStatus.SUCCEEDED)
    assert (await send(reports, "reportAll", idempotencyKey="k"))["errors"] == [], "the refusal used the key up"


async def test_the_job_that_is_there_is_given_to_a_viewer_without_room_for_another(reports: TestApp) -> None:
    first = await send(reports, "reportMake", month=1)
    await send(reports, "reportMake", month=2)
    again = await send(reports, "reportMake", month=1)
    assert (again["replayed"], again["job"]["id"]) == (True, first["job"]["id"])
    for key in (None, "k"):
        full = await send(reports, "reportMake", month=3, idempotencyKey=key)
        assert [error["code"] for error in full["errors"]] == ["RATE_LIMITED"]
    count = sa.select(sa.func.count()).select_from(jobs)
    assert await reports.onward.database.read(lambda tx: tx.scalar(count)) == 2


async def test_a_row_is_written_beside_a_job_that_is_there(reports: TestApp) -> None:
    """The caller's row is its own; the job stands for both."""
    with closing(sqlite3.connect(str(reports.onward.database.path))) as file:
        file.execute("CREATE TABLE edits (id TEXT, words TEXT)")
    fields = "job { id } edit { words } replayed"
    first = await send(reports, "reportEdit", fields, month=1, words="a")
    again = await send(reports, "reportEdit", fields, month=1, words="b")
    assert (first["edit"], again["edit"]) == ({"words": "a"}, {"words": "b"})
    assert (again["replayed"], again["job"]) == (True, first["job"])
    written = sa.text("SELECT words FROM edits ORDER BY words")
    assert await reports.onward.database.read(lambda tx: tx.scalars(written)) == ["a", "b"]


async def test_a_retry_beside_a_newer_job_is_a_conflict_with_its_id(reports: TestApp) -> None:
    first = (await send(reports, "reportMake", month=1))["job"]["id"]
    await end(reports, JobStatus.FAILED)
    second = (await send(reports, "reportMake", month=1))["job"]["id"]
    found = (await reports.graphql(RETRY, id=first))["data"]["retryJob"]
    assert [(error["code"], error["path"]) for error in found["errors"]] == [("CONFLICT", ["id"])]
    assert second in found["errors"][0]["message"]
    assert found["job"] == {"id": first, "status": "FAILED"}
    await end(reports, JobStatus.CANCELLED)
    assert (await reports.graphql(RETRY, id=first))["data"]["retryJob"]["job"]["status"] == "QUEUED"
