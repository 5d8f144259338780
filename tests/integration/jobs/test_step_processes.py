"""Handlers with a process of their own can do all that others can, and are killed where others are asked to stop."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from onward.children import HandedDown
from onward.config.settings import load
from onward.handlers.base import Handler, Step
from onward.jobs import commands, ledger, log_lines, step_process, waits
from onward.jobs.change_feed import ChangeFeed
from onward.jobs.following import follow_output
from onward.jobs.model import Job, Visible, to_us
from onward.jobs.states import JobStatus
from onward.jobs.step_process import StepProcesses
from onward.jobs.timings import Timings
from onward.runtime import values
from onward.storage.writer import Writer
from onward.telemetry.tracing import Tracing
from onward.worker.process import main
from onward.worker.step_process import JOB_OVER, Parent
from tests.integration.jobs import process_handlers
from tests.ledgers import route, writing
from tests.processes import environment, wait_until
from tests.runners import Node, node

S = JobStatus
EVERYTHING = Visible(everything=True)
pytestmark = pytest.mark.anyio


@pytest.fixture
def writer(sqlite_ledger: str) -> Iterator[Writer]:
    with writing(sqlite_ledger) as writer:
        yield writer


MODULES = '[handlers]\nmodules = ["tests.integration.jobs.process_handlers"]\n'
IN_PRODUCTION = f'environment = "production"\n[telemetry]\ntraces = "console"\n[auth]\nallow_public = true\n{MODULES}'


def handed_down(folder: Path, text: str = MODULES) -> HandedDown:
    """Return what a process with these settings hands to those of handlers."""
    (folder / "settings.toml").write_text(text)
    return values.handed_down(load(folder), Timings())


@pytest.fixture
async def here(writer: Writer, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    """Run the handlers; a test may give other settings by an indirect parameter."""
    given = handed_down(tmp_path, getattr(request, "param", MODULES))
    handlers = [one for one in vars(process_handlers).values() if isinstance(one, Handler)]
    async with node(writer, *handlers, handed_down=given) as made:
        yield made


async def start(here: Node, handler: Handler, **params: Any) -> tuple[Job, asyncio.Task[bool]]:
    job = await here.accept(handler, given=params, owner="ada")
    return job, here.start(job)


def pids(folder: Path) -> list[int]:
    file = folder / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


async def pid_of_started(folder: Path) -> int:
    """Wait until the handler has started, and return the pid of its process."""
    async with asyncio.timeout(60):
        while not (found := pids(folder)):
            await asyncio.sleep(0.01)
    return found[0]


def is_gone(pid: int) -> None:
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


async def output(here: Node, job: Job) -> list[Any]:
    feed = ChangeFeed(here.writer.database)  # it is not needed for a job that is over
    following = follow_output(feed, here.writer.database.read, job.id, visible=EVERYTHING)
    return [(chunk.step, chunk.data) async for chunk in following]


async def test_the_output_of_a_process_is_the_job_s(here: Node) -> None:
    """The output is whole when a step has ended; a chunk that is too large is refused where it is emitted."""
    job, task = await start(here, process_handlers.tells)
    await task
    done = await here.get(job)
    assert (done.status, done.error and done.error.code) == (S.FAILED, "CHUNK_TOO_LARGE")
    assert await output(here, job) == [
        *(("tell", f"word {n}") for n in range(300)),
        ("tell_in_a_thread", {"told": 1}),
    ]


async def test_a_process_that_dies_has_given_all_that_it_has_emitted_and_logged(here: Node) -> None:
    job, task = await start(here, process_handlers.dies)
    await task
    done = await here.get(job)
    assert (done.status, done.error and done.error.code) == (S.FAILED, "PROCESS_ENDED")
    assert await output(here, job) == [("dies", n) for n in range(50)]
    lines = await here.writer.database.read(lambda tx: log_lines.newest(tx, job.id, 100))
    assert (lines[0].step, lines[0].text) == ("dies", "its last word")


async def test_what_a_process_has_started_ends_with_it(here: Node, tmp_path: Path) -> None:
    """The attempt is over at once, though processes that the handler has started would go on."""
    job, task = await start(here, process_handlers.parent, folder=str(tmp_path))
    async with asyncio.timeout(60):
        await task
    failed = await here.get(job)
    assert (failed.status, failed.error and failed.error.code) == (S.FAILED, "PROCESS_ENDED")
    program, fork = pids(tmp_path)
    is_gone(program)
    is_gone(fork)


async def test_steps_progress_and_dispatched_jobs_of_a_process_are_the_job_s(here: Node, tmp_path: Path) -> None:
    """One process runs all steps of the attempt, and closes its resources."""
    job, task = await start(here, process_handlers.steps, folder=str(tmp_path), pin="1234")
    await task
    done = await here.get(job)
    assert (done.status, done.result) == (
        S.SUCCEEDED,
        {"folder": str(tmp_path), "child": "job_child", "key": job.id, "owner": "ada"},
    )
    assert done.progress is not None
    assert (done.progress.completed, done.progress.message) == (1000, "counting")
    assert done.steps[0].result == done.result
    assert here.enqueuer.dispatched == ["job_child"]
    child = await here.writer.database.read(lambda tx: ledger.get(tx, "job_child"))
    assert child is not None
    assert (child.run_at, child.owner, child.priority) == (to_us(process_handlers.LATER), "7", -5)
    one, two = pids(tmp_path)
    assert one == two != os.getpid()
    is_gone(one)


async def test_what_others_bind_to_log_lines_stays_in_the_process_that_bound_it(here: Node, tmp_path: Path) -> None:
    """Middleware of a project may bind any object, which no other process can have."""
    with structlog.contextvars.bound_contextvars(user=object()):
        job, task = await start(here, process_handlers.steps, folder=str(tmp_path), pin="1234")
        await task
    assert (await here.get(job)).status is S.SUCCEEDED


async def test_no_process_waits_for_a_signal(here: Node, tmp_path: Path) -> None:
    """Another process runs the step after the wait, with the typed payload and the results of earlier steps."""
    job, task = await start(here, process_handlers.waits, folder=str(tmp_path))
    await task
    assert (await here.get(job)).status is S.WAITING
    is_gone(pids(tmp_path)[0])
    stored = waits.checked(await here.get(job), "approval", {"approved": True}, handlers=here.handlers)
    await here.writer.run(lambda tx: waits.signal(tx, job.id, "approval", stored, route=route))
    await here.start(job)
    done = await here.get(job)
    assert (done.status, done.result) == (S.SUCCEEDED, "Approval True")
    assert len(set(pids(tmp_path))) == 2


async def test_a_process_is_killed_at_its_time_limit(here: Node, tmp_path: Path) -> None:
    """The process holds its interpreter's lock; nothing of it runs any more when the job has failed."""
    job, task = await start(here, process_handlers.stuck, folder=str(tmp_path))
    await task
    failed = await here.get(job)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (S.FAILED, "TIMED_OUT")
    is_gone(pids(tmp_path)[0])


async def test_a_process_is_killed_at_a_cancel(here: Node, tmp_path: Path) -> None:
    job, task = await start(here, process_handlers.deaf, folder=str(tmp_path))
    pid = await pid_of_started(tmp_path)
    await here.writer.run(lambda tx: commands.cancel(tx, job.id, reason=None, visible=EVERYTHING))
    await task
    assert (await here.get(job)).status is S.CANCELLED
    is_gone(pid)


async def test_a_process_is_killed_at_the_end_of_the_drain(here: Node, tmp_path: Path) -> None:
    """The job is handed back, and the attempt does not count."""
    job, task = await start(here, process_handlers.deaf, folder=str(tmp_path))
    pid = await pid_of_started(tmp_path)
    await here.runner.drain(2.0)
    await task
    waiting = await here.get(job)
    assert (waiting.status, waiting.counted_attempts) == (S.QUEUED, 0)
    is_gone(pid)


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("permanent", "NEVER", "never "),
        ("parameters", "CLOSED", "order: 7"),
        ("long", "LONG", "xxx"),
        ("exit", "PROCESS_ENDED", "the handler's process ended with 3 before"),
        ("signal", "PROCESS_ENDED", "the handler's process was killed by signal 35 before"),
        ("other", "UNEXPECTED", "the handler failed unexpectedly"),
    ],
)
async def test_errors_of_a_process_are_the_job_s(here: Node, kind: str, code: str, words: str) -> None:
    """The death of the process is charged to its job alone."""
    job, task = await start(here, process_handlers.bad, kind=kind)
    with capture_logs() as logs:
        await task
    failed = await here.get(job)
    assert failed.error is not None
    assert (failed.status, failed.error.code, failed.counted_attempts) == (S.FAILED, code, 1)
    assert failed.error.message.startswith(words)
    if kind == "other":
        assert 'raise ValueError(f"a stranger' in str(logs)


@pytest.mark.parametrize(
    ("kind", "status", "code", "counted"),
    [
        ("later", S.RETRYING, "LATER", 0),
        ("busy", S.RETRYING, "BUSY", 1),
        ("index", S.RETRYING, "UNEXPECTED", 1),
        ("key", S.FAILED, "UNEXPECTED", 1),
    ],
)
async def test_the_class_of_an_error_is_judged_across_processes(
    here: Node, kind: str, status: JobStatus, code: str, counted: int
) -> None:
    job, task = await start(here, process_handlers.judged, kind=kind)
    await task
    ended = await here.get(job)
    assert ended.error is not None
    assert (ended.status, ended.error.code, ended.counted_attempts) == (status, code, counted)
    assert ended.error.retryable is (status is S.RETRYING)
    if kind == "later":
        assert ended.attempts[-1].finished_at is not None
        assert ended.due_at - ended.attempts[-1].finished_at == 2 * 86_400_000_000


async def test_a_step_that_the_modules_have_no_longer_is_named(writer: Writer, tmp_path: Path) -> None:
    """The modules on disk are newer than those of the running process."""
    renamed = replace(process_handlers.bad, steps=(Step("gone", process_handlers.bad.steps[0].call),))
    async with node(writer, renamed, handed_down=handed_down(tmp_path)) as older:
        job, task = await start(older, renamed, kind="other")
        await task
        failed = await older.get(job)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (S.FAILED, "STEP_UNKNOWN")
    assert "no step gone in the modules as they are now: restart" in failed.error.message


@pytest.mark.parametrize(
    ("here", "within_s"),
    [(f'{MODULES}lifespan = "nowhere:at_all"\n', 60.0), (MODULES, 0.01)],
    ids=["wrong settings", "not in time"],
    indirect=["here"],
)
@pytest.mark.slow
async def test_a_process_that_does_not_start_counts_against_no_job(
    here: Node, monkeypatch: pytest.MonkeyPatch, within_s: float
) -> None:
    monkeypatch.setattr(step_process, "START_TIMEOUT_S", within_s)
    job, task = await start(here, process_handlers.bad, kind="permanent")
    await task
    waiting = await here.get(job)
    assert (waiting.status, waiting.counted_attempts) == (S.RETRYING, 0)


async def test_a_process_for_which_no_descriptor_is_left_counts_against_no_job(
    here: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def socketpair() -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("onward.jobs.step_process.socket.socketpair", socketpair)
    job, task = await start(here, process_handlers.bad, kind="permanent")
    await task
    waiting = await here.get(job)
    assert (waiting.status, waiting.counted_attempts) == (S.RETRYING, 0)


async def test_a_start_that_is_cancelled_leaves_no_descriptor_open() -> None:
    process = StepProcesses(HandedDown(os.environ, b""), Tracing()).open(cast("Any", None))
    task = asyncio.create_task(process.run("first", {}))
    await asyncio.sleep(0)
    assert list(process.descriptors()), "the start has begun"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(process.descriptors())


async def test_a_dispatch_after_the_end_of_a_job_raises_in_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent reads nothing more: a wait for its answer would keep the process from closing its resources."""
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    ours, theirs = socket.socketpair()
    parent = Parent(theirs.detach())
    listening = threading.Thread(target=parent.listen, daemon=True)
    listening.start()
    asking = [asyncio.create_task(asyncio.to_thread(parent.ask, dispatch="apart.bad")) for _ in range(2)]
    try:
        assert await asyncio.to_thread(ours.recv, 1000) == b'{"dispatch":"apart.bad"}\n'
        ours.sendall(b'{"end":true}\n')
        async with asyncio.timeout(30):
            assert await asyncio.gather(*asking) == [JOB_OVER, JOB_OVER]
            assert "end" in await parent.orders.get()
    finally:
        ours.sendall(b'{"over":""}\n' * 2)  # no thread may wait for ever
        ours.close()
        await asyncio.to_thread(listening.join, 30)
        parent._socket.close()
    assert left == [1]


ORPHANED = r"""
import asyncio, json, os, socket, sys
from onward.children import Child
from onward.config import inherited
from onward.config.settings import load

async def main(folder):
    ours, theirs = socket.socketpair()
    command = (sys.executable, "-P", "-m", "onward.worker", "attempt", str(theirs.fileno()))
    child = await Child.start(command, stdout=None, pass_fds=(theirs.fileno(),), start_new_session=True)
    await child.write(inherited.encode(load()))
    job = {"id": "job_1", "handler": "apart.stuck", "attempt": 1}
    run = {"run": "stuck", "left_s": None, "trace": None, "params": {"folder": folder}, "version": 1, "secrets": []}
    for message in ({"job": job, "log": {}}, run):
        ours.sendall(json.dumps(message).encode() + b"\n")
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("command", [("alone", "job_1", "here"), ("steps", "3")], ids=["isolated", "of a handler"])
def test_a_process_that_an_older_release_starts_tells_what_to_do(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The files of a release that runs were replaced, and it starts processes by the commands of before."""
    assert main([*command]) == 2
    expected = f"onward: installed anew while process {os.getppid()} ran: restart that process\n"
    assert capsys.readouterr().err == expected


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """The process holds its interpreter's lock; another one runs the job again, which must not run twice."""
    (tmp_path / "settings.toml").write_text(MODULES)
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANED, str(tmp_path)], env=environment(ONWARD_PROJECT=str(tmp_path))
    )
    try:
        wait_until(lambda: pids(tmp_path))
    finally:
        parent.kill()
        parent.wait()
    is_gone(pids(tmp_path)[0])


@pytest.mark.parametrize("here", [IN_PRODUCTION], indirect=True)
@pytest.mark.slow
async def test_logs_of_a_process_name_the_job_and_its_traces_go_on(
    here: Node, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Log lines of its handler have job, handler and attempt, and only its own secrets are redacted."""
    job, task = await start(here, process_handlers.steps, folder=str(tmp_path), pin="1234")
    await task
    is_gone(pids(tmp_path)[0])
    said = capfd.readouterr().err
    line = next(line for line in said.splitlines() if "logged there" in line)
    assert {f'"job":"{job.id}"', '"handler":"apart.steps"', '"attempt":1', '"pin":4'} <= set(
        line.strip("{}").split(",")
    )
    assert '"name": "process first"' in said
    assert '"name": "process second"' in said
