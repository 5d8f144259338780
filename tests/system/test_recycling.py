"""Worker processes that are replaced after a number of jobs, or above an amount of memory."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from onward.backends.base import Role
from onward.config.settings import load
from onward.jobs.ledger import get
from onward.jobs.model import Job
from onward.runtime import wiring
from onward.supervisor.supervisor import ProcessSpec, Supervisor
from onward.telemetry.memory import resident_bytes
from onward.testing import node
from onward.worker.recycling import MEGABYTE, Recycling
from tests.processes import running

ASKS = """
import os, signal, sys, time
from pathlib import Path
from onward import children
folder, name = Path(sys.argv[1]), str(os.getpid())
def end(*_):
    print("ends", flush=True); os._exit(0)
signal.signal(signal.SIGTERM, end)
first = not (folder / "asked").exists()
(folder / "asked").touch()
if not first and {broken}:
    sys.exit(1)
print("up", *sys.argv[2:], end="", flush=True)
children.notify_supervisor(children.IS_UP)
if first:
    print("42 %", end="", flush=True)
    children.notify_supervisor(children.WANTS_REPLACEMENT)
while True:
    signal.pause()
"""


def test_a_process_has_done_its_share_after_so_many_jobs_or_above_so_much_memory() -> None:
    used = resident_bytes() // MEGABYTE
    for after_jobs, above_mb, words in (
        (0, 0, None),
        (11, 0, None),
        (10, 0, "it has run 10 jobs"),
        (0, 2 * used, None),
        (0, used // 2, "it uses "),
    ):
        found = Recycling(after_jobs=after_jobs, above_mb=above_mb, jobs=lambda: 10).reason()
        assert found is None if words is None else str(found).startswith(words)


@pytest.mark.parametrize(
    ("broken", "said"),
    [("no", ["up", "42 %", "up again", "ends"]), ("yes", ["up", "42 %", "ended with 1", "starting again in 2 s"])],
)
async def test_a_process_works_until_its_replacement_is_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], broken: str, said: list[str]
) -> None:
    """A process is always up; a replacement that fails to start is tried again, and the first process works on.

    Its handlers have begun lines that they have not ended. The replacement gets the options of one.
    """
    command = (sys.executable, "-c", ASKS.format(broken=broken == "yes"), str(tmp_path))
    part = ProcessSpec("worker", command, replacing=("again",))
    stopping = asyncio.ensure_future(Supervisor([part], deadline_s=60).run())
    lines: list[str] = []
    async with asyncio.timeout(60):
        while len(lines) < len(said):
            await asyncio.sleep(0.02)
            lines_out = [line.partition("| ")[2] for line in capfd.readouterr().out.splitlines()]
            lines += [line for line in lines_out if not line.startswith("wants to be replaced after ")]
        assert lines[: len(said)] == said
        os.kill(os.getpid(), signal.SIGTERM)
        assert await stopping == 0
    assert capfd.readouterr().out.splitlines() == ["worker | ends"], "whichever of them still ran is ended"


@pytest.mark.long
async def test_nobody_notices_that_a_worker_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, namespace: str
) -> None:
    """One process is replaced after every few jobs: each job runs once, and several processes have run them."""
    (tmp_path / "share.py").write_text(
        "import asyncio\nfrom onward import handler\n\n\n"
        '@handler("share.work")\nasync def work(job):\n    await asyncio.sleep(0.05)\n'
    )
    (tmp_path / "settings.toml").write_text(
        'backend = "dramatiq"\n[worker]\nrecycle_after_jobs = 5\n[handlers]\nmodules = ["share"]\n'
        f'[backends.dramatiq]\nurl = "{redis_url}"\nnamespace = "{namespace}"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    wanted = {"handler": "share.work", "params": {}}
    with running("worker", "--processes", "1", "--threads", "2", project=tmp_path) as worker:
        worker.wait_for("worker is up")
        async with wiring.run_process(load(tmp_path), Role.ACCEPT) as front:
            jobs = await node.accept(front, [dict(wanted) for _ in range(60)])
            await front.dispatcher.deliver(jobs, after_response=front.dispatcher.defer)
            done = [await _done(front, job) for job in jobs]
            async with asyncio.timeout(60):
                while len({job.attempts[0].worker for job in done}) < 2:  # so that later processes have work, too
                    (one,) = await node.accept(front, [dict(wanted)])
                    await front.dispatcher.deliver([one], after_response=front.dispatcher.defer)
                    done.append(await _done(front, one))
    assert {(job.status, len(job.attempts)) for job in done} == {("SUCCEEDED", 1)}


async def _done(front: wiring.Runtime, job: Job) -> Job:
    async with asyncio.timeout(60):
        while True:
            found = await front.database.read(lambda tx: get(tx, job.id))
            if found is not None and found.done:
                return found
            await asyncio.sleep(0.02)
