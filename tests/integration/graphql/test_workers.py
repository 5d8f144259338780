"""Admins see the processes, and drain workers."""

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from onward.config.settings import version
from onward.storage.tables import jobs, runners
from onward.storage.transaction import Tx
from tests.integration.graphql.conftest import Api, running, settings_in, until
from tests.integration.graphql.test_viewers import ask, behind_tokens, header
from tests.ledgers import OLDER, accept

FIELDS = "id name role version startedAt running memoryBytes queues draining"
WORKERS = f"{{ workers {{ {FIELDS} }} }}"
DRAIN = f"mutation($id: ID!) {{ drainWorker(input: {{id: $id}}) {{ worker {{ {FIELDS} }} errors {{ code path }} }} }}"
_enter = sa.insert(runners)


async def worker_beside(api: Api, id_: str = "runner_beside") -> str:
    """Register a worker process, as its first heartbeat does."""
    shown = {**OLDER, "role": "worker", "version": "9"}
    writer = api.app.state.onward.writer
    await writer.run(lambda tx: tx.execute(_enter, id=id_, beat=1, place="", name="b:1", started_at=tx.now, **shown))
    return id_


async def test_the_processes_are_shown(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        (own,) = (await api.data(WORKERS))["workers"]
        assert own["id"].startswith("runner_")
        assert own["name"].endswith(f":{os.getpid()}")
        assert (own["role"], own["version"], own["running"], own["draining"]) == ("api", version(), 0, False)
        assert own["memoryBytes"] > 1_000_000
        assert own["queues"] == ["default"]
        assert own["startedAt"].startswith("20")


async def test_a_worker_is_asked_to_drain_and_any_other_process_is_not(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        beside = await worker_beside(api)
        for _ in range(2):
            drained = (await api.data(DRAIN, id=beside))["drainWorker"]
            assert drained["errors"] == []
            assert (drained["worker"]["id"], drained["worker"]["draining"]) == (beside, True)
        own, older = (await api.data(WORKERS))["workers"]
        assert older["queues"] is None
        refused = (await api.data(DRAIN, id=own["id"]))["drainWorker"]
        assert refused["errors"] == [{"code": "CONFLICT", "path": ["id"]}]
        assert (refused["worker"]["id"], refused["worker"]["draining"]) == (own["id"], False)


async def test_an_unknown_worker_is_reported(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        for id_ in ("runner_none", "job_none", "x\0", "", "r" * 10_000):
            found = (await api.data(DRAIN, id=id_))["drainWorker"]
            assert found == {"worker": None, "errors": [{"code": "NOT_FOUND", "path": ["id"]}]}


async def test_the_longest_running_jobs_of_a_process_are_shown_beside_hundreds_of_newer_ones(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        beside, busy = await worker_beside(api), await worker_beside(api, "runner_busy")
        begin = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_"))

        def run_many(tx: Tx) -> str:
            """Have one process run a job for long, and another one 300 newer ones."""
            ids = [accept(tx, backend="elsewhere").id for _ in range(301)]
            for at, job_id in enumerate(ids):
                values = {"status": "RUNNING", "attempt": 1, "runner": busy if at else beside, "worker": "w"}
                tx.execute(begin.values({**values, "attempt_started_at": at}), id_=job_id)
            return ids[0]

        old = await api.app.state.onward.writer.run(run_many)
        query = "query($first: Int!) { workers { id running jobs(first: $first) { id attempts { startedAt } } } }"
        found = {one["id"]: one for one in (await api.data(query, first=5))["workers"]}
        first, second = found[busy], found[beside]
        assert (first["running"], len(first["jobs"]), second["running"]) == (300, 5, 1)
        starts = [one["attempts"][-1]["startedAt"] for one in first["jobs"]]
        assert starts == sorted(starts)
        assert [one["id"] for one in second["jobs"]] == [old]
        for wrong in (-1, 51):
            error, *_ = await api.errors(query, first=wrong)
            assert (error["extensions"]["code"], error["message"]) == (
                "INVALID",
                f"`first` must be between 0 and 50 (got {wrong}).",
            )


async def test_only_admins_see_processes_and_drain_them(tmp_path: Path) -> None:
    async with behind_tokens(tmp_path) as api:
        beside = await worker_beside(api)
        assert (await ask(api, header("ada"), WORKERS))["data"]["workers"] == []
        for who in (header("ada"), {}):
            (error,) = (await ask(api, who, DRAIN, id=beside))["data"]["drainWorker"]["errors"]
            assert error == {"code": "NOT_ALLOWED", "path": None}
        admin = header("root", "admin")

        async def found() -> Any:
            return (await ask(api, admin, WORKERS))["data"]["workers"]

        assert [one["draining"] for one in await until(found)] == [False, False]
        assert (await ask(api, admin, DRAIN, id=beside))["data"]["drainWorker"]["worker"]["draining"]
