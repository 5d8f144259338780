"""Worker processes: Dramatiq's own command line, and the end of one that an admin drains."""

import asyncio
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from onward.backends.base import Role
from onward.cli import terminal
from onward.config.settings import SettingsError, load
from onward.jobs import ledger, workers
from onward.jobs.model import EVERYTHING
from onward.jobs.states import JobStatus
from onward.runtime import wiring
from onward.testing import node
from onward.worker import consumers
from tests import application
from tests.processes import ROOT, WAIT_TIMEOUT_S, running, wait_until
from tests.servers import free_port

FAST = '[backends.fast]\nclass = "onward.backends.dramatiq:Dramatiq"\n'
FAST += 'url = "redis://127.0.0.1:6390/3"\nnamespace = "fast"\n'


def test_dramatiq_s_command_is_refused_if_no_job_goes_to_dramatiq(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application.write(tmp_path)
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    with pytest.raises(SettingsError, match="no job goes to Dramatiq"):
        consumers.build_broker()


def test_one_route_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application.write(tmp_path, '[routes]\n"email.*" = "dramatiq"\n')
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    assert consumers.build_broker().namespace == "onward"


def test_a_backend_with_another_name_has_its_own_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application.write(tmp_path, 'backend = "fast"\n' + FAST)
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    broker = consumers.build_broker()
    assert broker.namespace == "fast"
    assert broker.client.connection_pool.connection_kwargs["port"] == 6390


def test_dramatiq_s_own_command_is_refused_with_two_brokers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = 'backend = "fast"\n[routes]\n"email.*" = "dramatiq"\n' + FAST
    application.write(tmp_path, settings)
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    with pytest.raises(SettingsError, match=r"only one of dramatiq, fast; run `onward worker`"):
        consumers.build_broker()


def test_dramatiq_s_own_command_serves_one_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application.write(tmp_path, 'backend = "dramatiq"\n[queues."email.*"]\nqueue = "mail"\n')
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    with pytest.raises(SettingsError, match=r"only one of dramatiq, dramatiq:mail; .* choose a queue by ONWARD_WORKER"):
        consumers.build_broker()
    for queue, namespace in (("mail", "onward:mail"), ("default", "onward")):
        monkeypatch.setenv("ONWARD_WORKER__QUEUES", queue)
        assert consumers.build_broker().namespace == namespace


@pytest.mark.slow
def test_dramatiq_s_own_command_ends_if_the_ledger_cannot_be_reached(tmp_path: Path) -> None:
    """Without a ledger it would stay up and run no job, and nothing would restart it."""
    ledger = f"postgresql://onward@127.0.0.1:{free_port()}/onward"
    application.write(tmp_path, f'backend = "dramatiq"\n[database]\nurl = "{ledger}"\n')
    command = (sys.executable, "-m", "dramatiq", "worker:broker", "--processes", "2", "--threads", "1")
    environment = {**os.environ, "ONWARD_PROJECT": str(tmp_path)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 2
    said = ended.stdout + ended.stderr
    assert b"the ledger cannot be reached" in said
    assert b"Traceback" not in said


@pytest.mark.slow
async def test_a_drained_worker_ends_and_its_supervisor_starts_another(
    tmp_path: Path, redis_url: str, namespace: str
) -> None:
    """The other process goes on, and no job is lost."""
    text = f'backend = "dramatiq"\n[backends.dramatiq]\nurl = "{redis_url}"\nnamespace = "{namespace}"\n'
    application.write(tmp_path, text)
    with running("worker", "--processes", "2", "--threads", "1", project=tmp_path) as worker:
        wait_until(lambda: worker.output().count("worker is up") == 2)
        async with wiring.run_process(load(tmp_path), Role.ACCEPT) as front:

            async def found() -> list[workers.Worker]:
                return [one for one in await front.database.read(workers.all_workers) if one.role == workers.WORKER]

            drained, other = await found()
            await front.writer.run(lambda tx: workers.drain(tx, drained.id))
            async with asyncio.timeout(60):
                while drained.id in (ids := {one.id for one in await found()}) or len(ids) < 2:
                    await asyncio.sleep(0.05)
            assert other.id in ids
            assert not any(one.draining for one in await found())
            wanted = {"handler": "steps.process_item", "params": {"item": "x"}}
            jobs = await node.accept(front, [dict(wanted) for _ in range(4)])
            await front.dispatcher.deliver(jobs, after_response=front.dispatcher.defer)
            async with asyncio.timeout(60):
                while (await front.database.read(partial(ledger.counts, visible=EVERYTHING)))[JobStatus.SUCCEEDED] < 4:
                    await asyncio.sleep(0.05)
        worker.wait_for("drains, because an admin wants it")
        worker.wait_for("ended with 0")


@pytest.mark.slow
async def test_a_drained_worker_without_a_supervisor_ends(tmp_path: Path, redis_url: str, namespace: str) -> None:
    """The service manager starts it again, as after any end."""
    text = f'backend = "dramatiq"\n[backends.dramatiq]\nurl = "{redis_url}"\nnamespace = "{namespace}"\n'
    application.write(tmp_path, text)
    with running("worker", "--processes", "1", "--threads", "1", project=tmp_path) as worker:
        worker.wait_for("worker is up")
        with terminal.writer_of(load(tmp_path)) as writer:
            (one,) = writer.run_sync(workers.all_workers)
            writer.run_sync(lambda tx: workers.drain(tx, one.id))
            assert worker.process.wait(WAIT_TIMEOUT_S) == 0
            assert writer.run_sync(workers.all_workers) == []
