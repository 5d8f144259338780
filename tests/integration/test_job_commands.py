"""`onward jobs show`, `watch` and `batch list`, in the test's process: the parts of a flow."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from onward import BatchRequest, JobRequest, Onward, batch
from onward.backends.base import Role
from onward.cli import batches, terminal
from onward.config.settings import Settings, load
from onward.jobs import ledger
from onward.jobs.model import Job, JobFilter
from onward.runtime import wiring
from onward.testing import workload
from onward.testing.waiting import until
from tests.integration.test_enqueue import write_settings
from tests.processes import environment
from tests.terminals import on_a_terminal

LONG = timedelta(seconds=60)


@pytest.fixture
def settings(tmp_path: Path, ledger_url: str) -> Settings:
    write_settings(tmp_path, ledger_url)
    return load(tmp_path)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Onward, wiring.Runtime]]:
    """Open the project for enqueuing, and a process that runs its jobs.

    Both are closed before a command looks: SQLite's locks are those of a process.
    """
    async with (
        wiring.run_process(settings, Role.ACCEPT, embedded=True) as process,
        Onward.from_settings(settings.project / "settings.toml") as onward,
    ):
        yield onward, process


def enqueue(settings: Settings, *wanted: JobRequest | BatchRequest) -> list[str]:
    """Enqueue jobs and batches that nobody runs, and return their ids."""

    async def all_of_them() -> list[str]:
        async with Onward.from_settings(settings.project / "settings.toml") as onward:
            return [await onward.enqueue(one, owner="ada") for one in wanted]

    return asyncio.run(all_of_them())


def run_until(settings: Settings, request: JobRequest, holds: Callable[[Job], bool]) -> str:
    """Run a job until the condition holds, and return its id."""

    async def run() -> str:
        async with serving(settings) as (onward, process):
            job_id = await onward.enqueue(request)

            async def now() -> bool:
                job = await process.database.read(lambda tx: ledger.get(tx, job_id))
                return job is not None and holds(job)

            await until(now)
            return job_id

    return asyncio.run(run())


def waits_for(name: str) -> Callable[[Job], bool]:
    return lambda job: job.wait is not None and job.wait.name == name


class Printed:
    """The output of `onward jobs show`: as text, and as JSON."""

    def __init__(self, settings: Settings, job_id: str, capsys: pytest.CaptureFixture[str]) -> None:
        capsys.readouterr()
        assert terminal.show(settings, job_id, as_json=False) == 0
        self.text = capsys.readouterr().out
        assert terminal.show(settings, job_id, as_json=True) == 0
        self.json: dict[str, Any] = json.loads(capsys.readouterr().out)


def test_batches_are_listed_newest_first(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert batches.list_newest(settings, 20, as_json=False) == 0
    assert capsys.readouterr().out == "no batches\n"
    folder = str(settings.project)
    ids = enqueue(settings, *(batch([workload.noted.job(folder=folder)] * size) for size in (1, 2, 3)))
    assert batches.list_newest(settings, 20, as_json=True) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["id"], one["counts"]) for one in listed] == [(ids[n], {"QUEUED": n + 1}) for n in (2, 1, 0)]
    states = {(one["state"], one["done"], one["owner"], one["finishedAt"]) for one in listed}
    assert states == {("OPEN", False, "ada", None)}
    assert batches.list_newest(settings, 1, as_json=False) == 0
    shown = capsys.readouterr().out
    assert ids[2] in shown
    assert "3 QUEUED, of 3" in shown
    assert ids[1] not in shown


def test_a_watched_job_is_lines_where_nothing_can_be_redrawn(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a dumb terminal rich would draw nothing before the end; for a pipe in CI, FORCE_COLOR makes it draw."""
    (job,) = enqueue(settings, workload.noted.job(folder=str(settings.project)))
    assert terminal.cancel(settings, [job], reason=None, as_json=False) == 0
    line = f"{job} conformance.note CANCELLED\n"
    command = [sys.executable, "-P", "-m", "onward", "--project", str(settings.project), "jobs", "watch", job]
    assert on_a_terminal(command, variables=environment(TERM="dumb")) == (1, line)
    monkeypatch.setenv("FORCE_COLOR", "1")
    capsys.readouterr()
    assert terminal.watch(settings, job, as_json=False) == 1
    assert capsys.readouterr().out == line


def test_a_job_is_shown_with_its_parent_and_its_children(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run() -> tuple[str, str]:
        async with serving(settings) as (onward, _):
            parent = await onward.enqueue(workload.parent_of_many.job(folder=str(settings.project), children=12))
            newest: str = (await onward.result(parent, timeout=LONG))[-1]
            await onward.result(newest, timeout=LONG)
            return parent, newest

    parent, newest = asyncio.run(run())
    shown = Printed(settings, parent, capsys)
    assert {"id": newest, "handler": "conformance.note", "status": "SUCCEEDED"} in shown.json["children"]
    assert (len(shown.json["children"]), shown.json["moreChildren"], shown.json["parent"]) == (12, False, None)
    assert "dispatched more than 10 jobs; the newest:" in shown.text
    assert f"  {newest}  conformance.note  SUCCEEDED" in shown.text
    child = Printed(settings, newest, capsys)
    assert (child.json["parent"], child.json["children"]) == (parent, [])
    assert f"dispatched by {parent}" in child.text
    assert "dispatched 1" not in child.text


def test_a_job_is_shown_with_its_batch_its_limit_key_and_its_expiry(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(settings.project)
    children = [workload.noted.job(folder=folder), workload.fleeting.job(folder=folder)]
    batch_id, keyed_id = enqueue(settings, batch(children), workload.keyed.job(folder=folder, key="acme"))
    capsys.readouterr()
    assert terminal.list_jobs(settings, JobFilter(handler=("conformance.fleeting",)), 1, as_json=True) == 0
    listed = json.loads(capsys.readouterr().out)
    fleeting = Printed(settings, listed["id"], capsys)
    assert fleeting.json["batch"] == listed["batch"] == batch_id
    assert f"child 2 of {batch_id}" in fleeting.text
    assert fleeting.json["expiresAt"]
    assert "\nexpires 2" in fleeting.text
    keyed = Printed(settings, keyed_id, capsys)
    assert "acme" in keyed.json["limitKey"]
    assert f"\nlimit key {keyed.json['limitKey']}\n" in keyed.text
    assert "expires" not in keyed.text


def test_a_waiting_job_shows_the_schema_of_its_signal(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A handler that is missing, or cannot be loaded, is named with the reason."""
    job_id = run_until(settings, workload.approval.job(folder=str(settings.project)), waits_for("approval"))
    shown = Printed(settings, job_id, capsys)
    properties = {"approved": {"type": "boolean"}, "comment": {"default": "", "type": "string"}}
    assert f"onward jobs signal {job_id} approval --payload JSON" in shown.text
    assert json.dumps(properties) in shown.text
    assert shown.json["wait"]["schema"]["required"] == ["approved"]
    assert shown.json["wait"]["schemaProblem"] is None
    for module, words in (
        ("tests.integration.unique_handlers", "is missing here"),
        ("no.such_module", "cannot be loaded here: handlers.modules"),
    ):
        without = Printed(load(settings.project, handlers={"modules": [module]}), job_id, capsys)
        assert f"the handler conformance.approval {words}" in without.text
        assert without.json["wait"]["schema"] is None
        assert words in without.json["wait"]["schemaProblem"]


def test_a_signal_without_a_payload_says_so(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    job_id = run_until(settings, workload.several.job(folder=str(settings.project)), waits_for("seen"))
    assert f"onward jobs signal {job_id} seen, without a payload\n" in Printed(settings, job_id, capsys).text
