"""`onward workers`, and `onward jobs cancel` by filter, in the test's process: what is printed, and the exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from onward.cli import terminal, workers
from onward.cli.main import program
from onward.config.settings import Settings, load
from onward.jobs import pages
from onward.jobs.model import EVERYTHING, JobError, JobFilter
from onward.jobs.pages import page
from onward.jobs.row import encode_error
from onward.jobs.states import JobStatus
from onward.storage.tables import jobs, runners
from tests import application
from tests.ledgers import OLDER, accept

_enter = sa.insert(runners)
_fail = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("id_"))
    .values(status="FAILED", finished_at=jobs.c.created_at, error=sa.bindparam("error_"))
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    application.write(tmp_path)
    found = load(tmp_path)
    with terminal.writer_of(found, make=True):
        return found


@pytest.fixture
def ahead() -> Iterator[None]:
    """Give the machine a time zone that is eight hours ahead of UTC."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TZ", "AHEAD-8")
        time.tzset()
        yield
    time.tzset()


def enter(settings: Settings, id_: str, role: str | None, takes: str | None = None) -> None:
    shown = {**OLDER, "role": role, "version": role and "9.9", "memory": role and 50_000_000, "takes": takes}
    with terminal.writer_of(settings) as writer:
        writer.run_sync(
            lambda tx: tx.execute(_enter, id=id_, beat=1, place="", name=f"host:{id_}\x1b[2J", started_at=7, **shown)
        )


def test_processes_are_listed_and_drained(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert workers.list_all(settings, as_json=False) == 0
    assert capsys.readouterr().out == "no process runs\n"
    found = (("runner_a", "worker", "dramatiq:gpu dramatiq"), ("runner_b", "api", ""), ("runner_c", None, None))
    for id_, role, takes in found:
        enter(settings, id_, role, takes)
    assert workers.drain(settings, ["runner_a", "runner_b", "runner_none"], as_json=False) == 3
    said = capsys.readouterr()
    assert said.out == "runner_a drains\n"
    refused, unknown = said.err.splitlines()
    assert refused.startswith("runner_b: only a process of `onward worker` drains on request")
    assert unknown.startswith("runner_none: there is no such worker")
    assert workers.drain(settings, ["runner_c"], as_json=False) == 1
    capsys.readouterr()
    assert workers.list_all(settings, as_json=True) == 0
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {
        "id": "runner_a",
        "name": "host:runner_a\x1b[2J",
        "role": "worker",
        "version": "9.9",
        "startedAt": "1970-01-01T00:00:00.000007+00:00",
        "running": 0,
        "memoryBytes": 50_000_000,
        "queues": ["default", "gpu"],
        "draining": True,
    }
    assert (second["draining"], third["role"], third["memoryBytes"]) == (False, "unknown", None)
    assert (second["queues"], third["queues"]) == ([], None)
    assert workers.list_all(settings, as_json=False) == 0
    table = capsys.readouterr().out
    assert "\x1b[2J" not in table
    rows = [line.split() for line in table.splitlines()[1:]]
    assert rows[0][-5:] == ["default,gpu", "0", "50", "MB", "draining"]
    assert (rows[1][-4], rows[2][-2]) == ("none", "unknown")


@pytest.mark.usefixtures("ahead")
def test_the_time_of_a_start_is_that_of_the_machine(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of jobs has such times, too; JSON has both with their zone."""
    enter(settings, "runner_a", "worker")
    assert workers.list_all(settings, as_json=False) == 0
    assert " 1970-01-01 08:00:00 " in capsys.readouterr().out


def test_matching_jobs_are_cancelled(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.writer_of(settings) as writer:
        for _ in range(3):
            writer.run_sync(accept)
    wanted = JobFilter(status=(JobStatus.QUEUED,))
    assert terminal.cancel_matching(settings, wanted, 2, reason="too many") == 0
    assert capsys.readouterr().out == (
        "2 jobs are cancelled, or asked to stop; more than 2 match: run the command again, or give a higher --limit\n"
    )
    assert terminal.retry_matching(settings, JobFilter(), 1) == 0
    assert capsys.readouterr().out == (
        "1 job waits for a new run; more than 1 match: run the command again, or give a higher --limit\n"
    )
    assert terminal.cancel_matching(settings, JobFilter(), 1, reason="too many") == 0
    assert "; more than 1 match" in capsys.readouterr().out
    assert terminal.cancel_matching(settings, JobFilter(), 1, reason=None) == 0
    assert capsys.readouterr().out == "1 job is cancelled, or asked to stop\n"
    with terminal.ledger_of(settings) as database:
        found = database.read_sync(lambda tx: page(tx, visible=EVERYTHING, filter=JobFilter(), first=9)).jobs
    assert [(job.status, job.reason) for job in reversed(found)] == [
        (JobStatus.CANCELLED, "too many"),
        (JobStatus.CANCELLED, "too many"),
        (JobStatus.CANCELLED, None),
    ]
    assert terminal.cancel_matching(settings, JobFilter(handler=("none.*",)), 10, reason=None) == 3


def test_jobs_are_chosen_by_owner_time_and_error_code(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same options list jobs, retry and cancel them."""
    monkeypatch.setenv("ONWARD_PROJECT", str(tmp_path))
    with terminal.writer_of(settings) as writer:
        mine, busy = (writer.run_sync(lambda tx, owner=owner: accept(tx, owner=owner)) for owner in ("ann", "ben"))  # type: ignore[misc]
        error = encode_error(JobError("BUSY", "no\nanswer", retryable=True, step=None, occurred_at=1))
        writer.run_sync(lambda tx: tx.execute(_fail, id_=busy.id, error_=error))

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            program()(["jobs", *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    def listed(*words: str) -> list[str]:
        code, said = run("list", "--json", *words)
        assert code == 0
        return [json.loads(line)["id"] for line in said.splitlines()]

    assert listed() == [busy.id, mine.id]
    assert listed("--owner", "ann") == [mine.id]
    assert listed("--code", "BUSY", "--code", "503") == [busy.id]
    assert listed("--code", "busy") == listed("--status", "queued", "--code", "BUSY") == []
    assert listed("--from", "1h", "--to", "0m") == [busy.id, mine.id]
    assert listed("--to", "1h") == []
    assert listed("--message", "no answer") == listed("--ended-from", "1h", "--ended-to", "0m") == [busy.id]
    with terminal.writer_of(settings) as writer:
        set_params = sa.update(jobs).values(params='{"order":"A-17","n":5}').where(jobs.c.id == mine.id)
        writer.run_sync(lambda tx: tx.execute(set_params))
    assert listed("--param", "order=A-17") == listed("--param", "n=5", "--param", 'order="A-17"') == [mine.id]
    assert listed("--param", "order=A-1") == listed("--param", 'n="5"') == []
    monkeypatch.setattr(pages, "EXAMINED_IN_COMMIT", 1)
    monkeypatch.setattr(pages, "EXAMINED", 1)
    monkeypatch.setattr(pages, "SLICE", 1)
    assert listed("--param", "order=A-17") == [mine.id]
    assert run("retry", "--param", "order=A-17") == (0, "0 jobs wait for a new run\n")
    assert run("list", "--param", "order")[0] == 2
    assert listed("--ended-to", "1h") == listed("--batch", "batch_x") == []
    for option in ("--from", "--ended-to"):
        assert run("list", option, "soon")[0] == 2
    assert run("retry", "--code", "503") == (0, "0 jobs wait for a new run\n")
    assert run("retry", "--code", "BUSY", "--ended-from", "1h") == (0, "1 job waits for a new run\n")
    assert run("cancel", "--param", "order=A-17") == (0, "1 job is cancelled, or asked to stop\n")
    assert listed("--status", "CANCELLED") == [mine.id]
    assert run("cancel", mine.id, "--owner", "ann")[0] == 2
    for name in ("", "ended-", "run-"):
        code, said = run("list", f"--{name}from", "1h", f"--{name}to", "2h")
        assert (code, f"--{name}from must be earlier than --{name}to (got 1h and 2h)" in said) == (2, True), said
    at = int(datetime(2130, 12, 24, tzinfo=UTC).timestamp()) * 1_000_000
    with terminal.writer_of(settings) as writer:
        scheduled = writer.run_sync(lambda tx: accept(tx, run_at=at))
    december = ("--run-from", "2130-12-01T00:00:00Z", "--run-to", "2131-01-01T00:00:00Z")
    assert listed(*december) == listed("--run-from", "2130-12-24T00:00:00Z") == [scheduled.id]
    assert listed("--run-to", "2130-12-24T00:00:00Z") == []
    assert run("cancel", *december) == (0, "1 job is cancelled, or asked to stop\n")
