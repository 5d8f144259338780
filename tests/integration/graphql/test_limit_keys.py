"""The key of a job's limit, and the wait for its place, in GraphQL and by the recording backend."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from onward.testing import app
from onward.testing.app import TestApp
from onward.testing.waiting import until

JOB = "query($id: ID!) { job(id: $id) { status limitKey waitingFor } }"
CANCEL = "mutation($id: ID!) { cancelJob(input: {id: $id}) { job { status } errors { code } } }"
HANDLER = "conformance.keyed"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[TestApp]:
    async with app.running("recording", tmp_path, {"handlers": {"modules": ["onward.testing.workload"]}}) as found:
        yield found


async def test_a_job_names_the_key_that_it_waits_for(running: TestApp) -> None:
    """The job is delivered once the job before it is over, in the process that has made the place free."""
    first, second = [await running.accept(HANDLER, folder="", key="ann") for _ in range(2)]
    other = await running.accept("conformance.note", folder="")
    assert [delivery.job_id for delivery in running.delivered] == [first.id, other.id]

    async def shown(job_id: str) -> dict[str, str | None]:
        found: dict[str, str | None] = (await running.graphql(JOB, id=job_id))["data"]["job"]
        return found

    words = f"its turn: at most 1 of {HANDLER} run at once for ann"
    expected = {"status": "QUEUED", "limitKey": f"{HANDLER}:ann", "waitingFor": words}

    async def key_is_named() -> bool:
        return await shown(second.id) == expected

    await until(key_is_named)
    assert (await shown(other.id))["limitKey"] is None
    assert (await running.graphql(CANCEL, id=first.id))["data"]["cancelJob"]["errors"] == []

    async def delivered() -> bool:
        return running.delivered[-1].job_id == second.id

    await until(delivered)
    assert (await shown(second.id))["waitingFor"] == "a free worker"
