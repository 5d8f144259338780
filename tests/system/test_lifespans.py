"""The project's lifespan: entered at the start of each process that runs handlers, and left after its last job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from onward.config.settings import load
from onward.jobs import ledger
from onward.jobs.model import NewJob, Step
from onward.jobs.row import encode_steps
from onward.runtime.database import database_of
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.processes import ROOT, environment, onward, running, wait_until

RAN = "ran-with-pool"
BROKEN = (
    "handlers.lifespan: hooks:lifespan failed at its start: OSError: the pool cannot be reached (hooks.py, line 20)"
)
HOOKS = """
import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path

from onward import handler

HERE = Path(__file__).parent


def say(word):
    with (HERE / "journal").open("a") as file:
        file.write(f"{word} {os.getpid()}\\n")


@asynccontextmanager
async def lifespan():
    if (HERE / "broken").exists():
        raise OSError("the pool\\ncannot be reached")
    say("enter")
    yield "pool"
    say("leave")
    if (HERE / "stuck").exists():
        raise OSError("the pool cannot be closed")


@handler("hooks.note")
async def note(job):
    say(f"ran-with-{job.resources}")


@handler("hooks.apart", process=True)
def apart(job):
    say(f"ran-with-{job.resources}")


@handler("hooks.wait")
async def wait(job):
    say("waits")
    await asyncio.sleep(60)
"""


class Hooks:
    """A project with a lifespan whose processes write a journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backend = "background"
        (folder / "hooks.py").write_text(HOOKS)
        self.write()

    def write(self, more: str = "") -> None:
        (self.folder / "settings.toml").write_text(
            f'backend = "{self.backend}"\n[server]\nport = 0\ndrain_s = 0.5\n'
            f'[handlers]\nmodules = ["hooks"]\nlifespan = "hooks:lifespan"\n{more}'
        )

    def journal(self) -> list[tuple[str, int]]:
        file = self.folder / "journal"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(word, int(pid)) for word, _, pid in (line.partition(" ") for line in lines)]

    def pids(self, word: str) -> set[int]:
        return {pid for said, pid in self.journal() if said == word}

    def accept(self, *handlers: str, crashes: int = 0) -> None:
        """Accept a job of each handler; one of two crashes runs isolated."""
        steps = {one: (Step(one.removeprefix("hooks."), 0),) for one in handlers}
        database = database_of(load(self.folder))
        writer = Writer(database)
        writer.start()
        elsewhere = ledger.UNDELIVERED if self.backend == "dramatiq" else None

        def write(tx: Tx) -> None:
            for name in handlers:
                new = NewJob(name, self.backend, "{}", 1, encode_steps(steps[name]), 1, pending=steps[name])
                job = ledger.accept(tx, new, local_runner=elsewhere)
                tx.execute(sa.update(jobs).where(jobs.c.id == job.id).values({jobs.c.deaths: crashes}))

        try:
            writer.run_sync(write)
        finally:
            writer.close()
            database.close()

    def until(self, word: str, times: int = 1) -> None:
        wait_until(lambda: [said for said, _ in self.journal()].count(word) >= times)

    def check(self) -> None:
        """Check that each process that has entered has left, and ran nothing before or after."""
        entered = set[int]()
        for word, pid in self.journal():
            if word == "enter":
                assert pid not in entered
                entered.add(pid)
            else:
                assert pid in entered, word
            if word == "leave":
                entered.remove(pid)
        assert not entered, "some have not left"


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    return Hooks(tmp_path)


@pytest.fixture
def on_redis(hooks: Hooks, redis_url: str, namespace: str) -> Hooks:
    """The same with Dramatiq."""
    hooks.backend = "dramatiq"
    hooks.write(f'[backends.dramatiq]\nurl = "{redis_url}"\nnamespace = "{namespace}"\n')
    assert onward("migrate", project=hooks.folder).returncode == 0
    return hooks


def test_a_serving_process_and_those_that_it_starts_enter_and_leave_it(hooks: Hooks) -> None:
    """Started are those of a handler with a process of its own, and of isolated jobs; one job is handed back."""
    with running("serve", project=hooks.folder) as api:
        api.serving()
        hooks.accept("hooks.note", "hooks.apart")
        hooks.accept("hooks.note", crashes=2)
        hooks.until(RAN, 3)
        hooks.accept("hooks.wait")
        hooks.until("waits")
        assert api.end() == 0
    hooks.check()
    assert len(hooks.pids("enter")) == 3
    assert hooks.pids(RAN) == hooks.pids("enter")
    assert hooks.journal()[-1] == ("leave", api.process.pid), "last of all, though its job was handed back"


@pytest.mark.slow
@pytest.mark.parametrize("command", [("serve", "--workers", "2"), ("up", "--workers", "2")], ids=" ".join)
def test_each_of_several_api_processes_enters_and_leaves_it(hooks: Hooks, command: tuple[str, ...]) -> None:
    with running(*command, project=hooks.folder) as api:
        wait_until(lambda: api.output().count("serving") == 2)
        hooks.accept("hooks.note")
        hooks.until(RAN)
        assert api.end() == 0
    hooks.check()
    assert len(hooks.pids("enter")) == 2


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_each_worker_enters_and_leaves_it(on_redis: Hooks, processes: int) -> None:
    with running("worker", "--processes", str(processes), project=on_redis.folder) as worker:
        wait_until(lambda: worker.output().count("worker is up") == processes)
        on_redis.accept("hooks.note", "hooks.wait")
        on_redis.until(RAN)
        on_redis.until("waits")
        assert worker.end() == 0
    on_redis.check()
    assert len(on_redis.pids("enter")) == processes


@pytest.mark.slow
def test_up_enters_and_leaves_it_in_the_api_and_in_its_workers(on_redis: Hooks) -> None:
    with running("up", "--processes", "1", project=on_redis.folder) as both:
        both.wait_for("serving")
        both.wait_for("worker is up")
        on_redis.accept("hooks.note")
        on_redis.until(RAN)
        assert both.end() == 0
    on_redis.check()


@pytest.mark.slow
def test_a_recycled_worker_leaves_it_and_its_replacement_enters_it(on_redis: Hooks) -> None:
    settings = on_redis.folder / "settings.toml"
    settings.write_text(settings.read_text() + "[worker]\nrecycle_after_jobs = 1\n")
    with running("worker", "--processes", "1", project=on_redis.folder) as worker:
        worker.wait_for("worker is up")
        on_redis.accept("hooks.note")
        on_redis.until("leave")
        assert worker.end() == 0
    on_redis.check()
    assert len(on_redis.pids("enter")) >= 2


@pytest.mark.slow
def test_dramatiq_s_own_command_enters_and_leaves_it(on_redis: Hooks) -> None:
    with _dramatiq(on_redis) as worker:
        on_redis.until("enter")
        on_redis.accept("hooks.note", "hooks.wait")
        on_redis.until(RAN)
        on_redis.until("waits")
        worker.terminate()
        assert worker.wait(30) == 0
    on_redis.check()


def test_an_error_at_its_start_stops_the_process_with_one_line(hooks: Hooks) -> None:
    (hooks.folder / "broken").touch()
    outcome = onward("serve", project=hooks.folder)
    assert (outcome.returncode, outcome.stderr) == (2, f"onward: {BROKEN}\n"), outcome


@pytest.mark.slow
def test_an_error_at_its_start_stops_a_worker_and_those_of_a_supervisor_with_one_line_each(on_redis: Hooks) -> None:
    (on_redis.folder / "broken").touch()
    for command, pid in ((("worker", "--processes", "1"), ""), (("serve", "--workers", "2"), "api")):
        outcome = onward(*command, project=on_redis.folder)
        assert outcome.returncode == 2, outcome
        said = [line for line in (outcome.stdout + outcome.stderr).splitlines() if "lifespan" in line]
        assert said, outcome
        assert all(line.endswith(f"onward: {BROKEN}") and line.startswith(pid) for line in said), outcome
        assert "Traceback" not in outcome.stdout + outcome.stderr
    with _dramatiq(on_redis) as worker:
        assert worker.wait(30) == 2
        said_by_it = (on_redis.folder / "dramatiq.log").read_text()
    assert BROKEN in said_by_it
    assert "Traceback" not in said_by_it


def test_an_error_at_its_end_is_logged(hooks: Hooks) -> None:
    (hooks.folder / "stuck").touch()
    with running("serve", project=hooks.folder) as api:
        api.serving()
        assert api.end() == 0
        assert "the lifespan of the handlers failed at its end" in api.output()
        assert "the pool cannot be closed" in api.output()
    hooks.check()


def _dramatiq(hooks: Hooks) -> subprocess.Popen[bytes]:
    """Start Dramatiq's own command, with one process."""
    command = (sys.executable, "-m", "dramatiq", "worker:broker", "--processes", "1", "--threads", "2")
    with (hooks.folder / "dramatiq.log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment(ONWARD_PROJECT=str(hooks.folder)), stdout=log, stderr=log
        )
