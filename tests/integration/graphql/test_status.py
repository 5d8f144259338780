"""Health and metrics of the process."""

import asyncio
import threading
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pysqlite3
import pytest

from onward.backends.base import Health
from onward.jobs import due
from onward.jobs.step_threads import StepThreads
from onward.storage.base import DiskFull, Unavailable
from tests.integration.graphql.conftest import Api, running, settings_in, until
from tests.integration.storage.test_writer import fill


async def test_a_running_process_is_live(api: Api) -> None:
    assert (await api.http.get("/health/live")).status_code == 200


async def test_a_process_is_ready_if_all_its_parts_answer(api: Api) -> None:
    response = await api.http.get("/health/ready")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "ledger": "ok", "backends": {"background": "ok"}, "threads": "ok"}


async def test_without_a_thread_for_plain_functions_it_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepThreads.__init__, "__defaults__", (0,))
    async with running(settings_in(tmp_path)) as api:
        response = await api.http.get("/health/ready")
        assert (response.status_code, response.json()["threads"]) == (503, "exhausted")


async def test_without_its_ledger_it_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(_function: Any) -> Any:
        raise Unavailable

    monkeypatch.setattr(api.app.state.services.database, "read", read)
    response = await api.http.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["ledger"] == "unreachable"


async def test_with_a_ledger_that_cannot_be_written_it_is_not_ready(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        services = api.app.state.services

        async def is_answered_with(status: int) -> bool:
            response = await api.http.get("/health/ready")
            return response.status_code == status and (response.json()["ledger"] == "ok") is (status == 200)

        with closing(pysqlite3.connect(services.database.path, isolation_level=None)) as other:
            services.writer.timeout_s = 0.1
            other.execute("BEGIN IMMEDIATE")
            await until(partial(is_answered_with, 503))
        await until(partial(is_answered_with, 200))


async def test_with_a_full_disk_mutations_and_readiness_say_so(tmp_path: Path) -> None:
    async with running(settings_in(tmp_path)) as api:
        services = api.app.state.services
        services.writer.timeout_s = 0.1
        refused: dict[str, Any] = {"errors": []}

        async def is_refused() -> bool:
            with suppress(DiskFull):  # met by a job's outcome in the same commit
                await services.writer.run(fill)  # each refusal opens the connection anew
            refused.update(await api.mutate("processItem", item="x" * 200))
            return bool(refused["errors"])

        await until(is_refused)
        (error,) = refused["errors"]
        assert error["code"] == "UNAVAILABLE"
        assert "disk is full, and this was not accepted" in error["message"]

        async def says_why() -> bool:
            services.writer.disk_is_full = True  # the next heartbeat finds space again
            reasons = (await api.http.get("/health/ready")).json().get("reasons", {})
            return "its disk is full" in reasons.get("ledger", "")

        await until(says_why)


async def test_while_the_ledger_s_file_is_missing_mutations_are_refused_with_the_reason(tmp_path: Path) -> None:
    """Mutations answer with a typed error at once and create no job; they work again when the file is back."""
    async with running(settings_in(tmp_path)) as api:
        file = api.app.state.services.database.path
        assert (await api.mutate("processItem", item="before"))["job"]
        file.rename(tmp_path / "away.db")
        refused = await api.mutate("processItem", item="gone")
        assert (refused["job"], refused["errors"][0]["code"]) == (None, "UNAVAILABLE")
        response = await api.http.get("/health/ready")
        assert response.status_code == 503
        assert response.json()["ledger"] == "unreachable"
        assert "moved, deleted or replaced" in response.json()["reasons"]["ledger"]
        (tmp_path / "away.db").rename(file)
        assert (await api.mutate("processItem", item="after"))["job"]
        assert (await api.http.get("/health/ready")).json()["ledger"] == "ok"


async def test_a_long_count_of_what_waits_leaves_it_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = threading.Event()

    def never(*_: Any, **__: Any) -> Any:
        counted.wait(30)
        return 0, None

    monkeypatch.setattr(due, "waiting", never)
    try:
        async with asyncio.timeout(10):
            response = await api.http.get("/health/ready")
    finally:
        counted.set()
    assert response.status_code == 200, response.json()


async def test_without_a_backend_it_is_not_ready(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.app.state.services.dispatcher, "health_of", lambda _name: Health(reachable=False))
    response = await api.http.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["backends"] == {"background": "unreachable"}


async def test_metrics_show_the_number_of_jobs(api: Api) -> None:
    job = (await api.mutate("processItem", item="x"))["job"]
    await api.ends(job["id"])
    response = await api.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'onward_jobs{status="SUCCEEDED"}' in response.text
    assert 'onward_backend_up{backend="background"} 1' in response.text


async def test_while_the_ledger_hangs_one_thread_serves_all_requests_for_metrics(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads stay free for other blocking work."""
    at_once, most, goes_on = [], [], threading.Event()

    def text(*, own: bool) -> bytes:
        at_once.append(own)
        most.append(len(at_once))
        goes_on.wait()
        at_once.pop()
        return b"# metrics\n"

    monkeypatch.setattr(api.app.state.services.metrics, "text", text)
    waiting = [asyncio.ensure_future(api.http.get("/metrics")) for _ in range(20)]
    assert (await api.http.get("/health/live")).status_code == 200
    goes_on.set()
    assert {(await one).text for one in waiting} == {"# metrics\n"}
    assert set(most) == {1}
