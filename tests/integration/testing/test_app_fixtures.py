"""The fixtures for projects that build on Onward."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from onward.backends.base import Delivery
from onward.jobs.states import JobStatus
from onward.testing import app as application_under_test
from onward.testing.app import TestApp
from onward.testing.waiting import until
from tests import application
from tests.processes import pytest_in

ROOT = Path(__file__).resolve().parents[3]
S = JobStatus
REGISTER = (
    'mutation($name: String!) { registerUser(input: {username: $name, email: "ada@example.org"})'
    " { user { id } job { id status } errors { code } } }"
)


async def ended(app: TestApp, job_id: str) -> None:
    async def done() -> bool:
        return (await app.job(job_id)).done

    await until(done)


@pytest.fixture
def onward_tables() -> Mapping[str, Any]:
    return application.tables({"handlers": {"modules": ["onward.testing.workload"]}})


async def test_an_immediate_job_has_run_when_the_mutation_has_answered(onward_immediate: TestApp) -> None:
    """The job's effect is there, too."""
    answer = await onward_immediate.graphql(REGISTER, name="ada")
    job = await onward_immediate.job(answer["data"]["registerUser"]["job"]["id"])
    assert job.status is S.SUCCEEDED
    (message,) = onward_immediate.mail()
    assert message["To"] == "ada@example.org"


async def test_a_failed_immediate_job_shows_its_error(onward_immediate: TestApp, tmp_path: Path) -> None:
    job = await onward_immediate.accept("conformance.permanent", folder=str(tmp_path))
    assert job.status is S.FAILED
    assert job.error is not None
    assert job.error.code == "NEVER"


async def test_an_immediate_job_is_retried_at_its_time(onward_immediate: TestApp, tmp_path: Path) -> None:
    """The first attempt is immediate, the others follow the policy."""
    job = await onward_immediate.accept("conformance.fail", folder=str(tmp_path), times=2)
    assert job.status is S.RETRYING
    await ended(onward_immediate, job.id)
    job = await onward_immediate.job(job.id)
    assert (job.status, len(job.attempts)) == (S.SUCCEEDED, 3)


async def test_an_immediate_job_s_children_run(onward_immediate: TestApp, tmp_path: Path) -> None:
    parent = await onward_immediate.accept("conformance.parent", folder=str(tmp_path), fails=False)
    await ended(onward_immediate, parent.result)
    assert (await onward_immediate.job(parent.result)).result == "child"


async def test_a_recorded_job_is_accepted_and_does_not_run(onward_recording: TestApp) -> None:
    """`delivered` lists the deliveries, in order."""
    answer = await onward_recording.graphql(REGISTER, name="ada")
    job_id = answer["data"]["registerUser"]["job"]["id"]
    assert onward_recording.delivered == [Delivery(job_id, "email.welcome")]
    assert (await onward_recording.job(job_id)).status is S.QUEUED
    assert onward_recording.mail() == []


async def test_deliveries_of_several_queues_are_in_their_order(onward_recording: TestApp, tmp_path: Path) -> None:
    """Each queue has an instance of the backend."""
    names = ["conformance.queued", "conformance.note", "conformance.queued"]
    for name in names:
        await onward_recording.accept(name, folder=str(tmp_path))
    assert [delivery.handler for delivery in onward_recording.delivered] == names


async def test_a_mutation_with_errors_delivers_nothing(onward_recording: TestApp) -> None:
    answer = await onward_recording.graphql(REGISTER, name="")
    assert answer["data"]["registerUser"]["errors"]
    assert onward_recording.delivered == []


async def test_the_log_can_be_read(onward_immediate: TestApp) -> None:
    await onward_immediate.accept("logging.write", email="ada@example.org", message="hello")
    (entry,) = onward_immediate.log()
    assert entry["message"] == "hello"


async def test_the_environment_does_not_reach_the_application_under_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A developer's shell may name the ledger of production, whose waiting jobs would be rerouted."""
    for name, value in {
        "DATABASE__URL": f"sqlite:///{tmp_path / 'theirs.db'}",
        "DATABASE__SCHEMA": "theirs",
        "BACKEND": "dramatiq",
        "ROUTES": '{"conformance.*": "dramatiq"}',
        "BACKENDS__DRAMATIQ__URL": "redis://theirs.invalid/0",
        "EMAIL__TRANSPORT": "smtp",
        "EMAIL__DIRECTORY": str(tmp_path / "theirs"),
        "LOG__PATH": str(tmp_path / "theirs.jsonl"),
        "HANDLERS__LIFESPAN": "theirs:open",
        "AUTH__MODE": "custom",
        "NO_SUCH_TABLE__KEY": "1",
    }.items():
        monkeypatch.setenv(f"ONWARD_{name}", value)
    found = {}
    for backend in ("immediate", "recording"):
        folder = tmp_path / backend
        folder.mkdir()
        async with application_under_test.running(
            backend, folder, application.tables({"handlers": {"modules": ["onward.testing.workload"]}})
        ) as app:
            job = await app.accept("conformance.note", folder=str(folder), text="here")
            found[backend] = (app.onward.settings, job.status, job.backend)
    for backend, (given, status, chosen) in found.items():
        assert given.database.url == f"sqlite:///{tmp_path / backend / 'var' / 'onward.db'}"
        assert (given.email.transport, given.auth.mode, given.routes) == ("file", "open", {})
        assert (status, chosen) == (S.SUCCEEDED if backend == "immediate" else S.QUEUED, backend)
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("theirs*")))


async def test_the_backend_is_that_of_the_fixture_whatever_the_tables_say(tmp_path: Path) -> None:
    """A project may give its own settings.toml, as tomllib reads it."""
    given = {"backend": "dramatiq", "handlers": {"modules": ["onward.testing.workload"]}}
    async with application_under_test.running("immediate", tmp_path, given) as app:
        job = await app.accept("conformance.note", folder=str(tmp_path), text="here")
    assert (job.status, job.backend) == (S.SUCCEEDED, "immediate")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_documented_tests_pass(tmp_path: Path) -> None:
    """The tests are copied from docs/testing-your-jobs.md without changes."""
    page = (ROOT / "docs" / "testing-your-jobs.md").read_text()
    for name, text in re.findall(r"`(\w+\.py)`[^`]*?:\n\n```python\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(text)
    run = pytest_in(tmp_path, "test_greetings.py", "-q", PYTEST_ADDOPTS="")
    assert "3 passed" in run.stdout, run.stdout[-4000:]


OLD_NAME = """
import pytest
from pathlib import Path
from onward.testing.backend_fixture import BackendFixture

class Mine(BackendFixture):
    name = "mine"

    def settings(self, project: Path) -> str:
        return ""

@pytest.fixture(scope="module")
def rig():
    return Mine()

def test_it(backend_fixture):
    assert backend_fixture.name == "mine"
"""


@pytest.mark.slow
def test_a_fixture_works_under_its_former_name_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "test_old.py").write_text(OLD_NAME)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:valkey\n")
    run = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "onward.testing.fixtures", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "rename the fixture rig to backend_fixture" in run.stdout
