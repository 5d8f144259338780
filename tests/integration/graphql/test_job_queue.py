"""The queue of a job, and the health of each queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.graphql.conftest import running, settings_in

pytestmark = pytest.mark.anyio


async def test_a_job_says_its_queue_and_the_process_that_it_waits_for(tmp_path: Path, anyio_backend: str) -> None:
    """The backend is the name of the settings, also that of an attempt."""
    queues = {"steps.*": {"queue": "apart"}}
    async with running(settings_in(tmp_path, queues=queues, worker={"queues": "default"})) as api:
        payload = await api.mutate("processItem", "job { id backend queue waitingFor }", item="words")
        job = payload["job"]
        assert (job["backend"], job["queue"]) == ("background", "apart")
        assert job["waitingFor"] == "a worker that takes the queue apart"
        query = "{ system { queues { backend queue reachable depth } } }"
        assert (await api.data(query))["system"]["queues"] == [
            {"backend": "background", "queue": "default", "reachable": True, "depth": 0},
            {"backend": "background", "queue": "apart", "reachable": True, "depth": 1},
        ]
        async with running(settings_in(tmp_path, queues=queues, worker={"queues": "apart"})):
            assert await api.ends(job["id"]) == "SUCCEEDED"
        found = await api.data(
            "query($id: ID!) { job(id: $id) { queue waitingFor attempts { backend } } }", id=job["id"]
        )
    assert found["job"] == {"queue": "apart", "waitingFor": None, "attempts": [{"backend": "background"}]}
