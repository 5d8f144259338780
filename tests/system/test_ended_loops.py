"""Handlers that stop the event loop of their process, cancel all of its tasks, or close its standard streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import graphql, onward, running, wait_until

HANDLERS = """
import asyncio, sys
from onward import JobContext, Retry, handler

@handler("tests.stop", retry=Retry(1))
async def stop(job: JobContext) -> None:
    asyncio.get_running_loop().stop()

@handler("tests.stop_later", retry=Retry(1))
async def stop_later(job: JobContext) -> None:
    asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
    await asyncio.sleep(0.1)

@handler("tests.cancel", retry=Retry(1))
async def cancel(job: JobContext) -> None:
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(60)

@handler("tests.close", retry=Retry(1))
async def close(job: JobContext) -> None:
    sys.stdout.close()
    sys.stderr.close()

@handler("tests.fail", retry=Retry(1))
async def fail(job: JobContext) -> None:
    raise ValueError("still in the log")
"""
STATUS = "query($id: ID!) { job(id: $id) { status error { code } attempts { error { code } } } }"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "ending.py").write_text(HANDLERS)
    (tmp_path / "settings.toml").write_text('[handlers]\nmodules = ["ending"]\n[server]\nport = 0\n')
    return tmp_path


def sent(project: Path, handler: str) -> str:
    done = onward("jobs", "send", handler, project=project)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("handler", "status"), [("tests.stop", "FAILED"), ("tests.stop_later", "SUCCEEDED")])
def test_no_handler_stops_the_event_loop(project: Path, handler: str, status: str) -> None:
    with running("serve", project=project) as server:
        address = server.serving()
        job = sent(project, handler)
        wait_until(lambda: graphql(address, STATUS, id=job)["job"]["status"] == status)
        assert "no handler may stop it" in server.wait_for("RuntimeError")
        assert server.end() == 0


def test_a_handler_that_cancels_all_tasks_is_charged_with_the_end_of_its_process(project: Path) -> None:
    """Otherwise each new process would end, too. The third one runs the job in a process of its own."""
    job = sent(project, "tests.cancel")
    for _ in range(2):
        with running("serve", project=project) as server:
            assert f"tests.cancel {job}" in server.wait_for("has cancelled tasks that it did not start")
            assert server.process.wait(30) == 1
    with running("serve", project=project) as server:
        address = server.serving()
        wait_until(lambda: graphql(address, STATUS, id=job)["job"]["status"] == "FAILED")
        found = graphql(address, STATUS, id=job)["job"]
        assert (found["error"]["code"], len(found["attempts"])) == ("POISON", 3)
        assert server.end() == 0


def test_a_handler_that_closes_the_standard_streams_ends_neither_the_log_nor_the_process(project: Path) -> None:
    with running("serve", project=project) as server:
        server.serving()
        for handler in ("tests.close", "tests.fail"):
            sent(project, handler)
        server.wait_for("still in the log")
        assert server.end() == 0
