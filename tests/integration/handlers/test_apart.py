"""Processes of handlers and of isolated jobs have the settings that code gave to their parent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from onward.jobs.claims import CRASHES_BEFORE_ISOLATION
from onward.jobs.states import JobStatus
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.testing import app as application_under_test
from onward.testing.app import TestApp
from onward.testing.waiting import until
from tests.integration.handlers.apart import Client
from tests.integration.handlers.conftest import PostOffice

S = JobStatus
pytestmark = pytest.mark.anyio
KEY = Fernet.generate_key().decode()
TABLES: Mapping[str, Any] = {
    "handlers": {"modules": ["tests.integration.handlers.apart"]},
    "secrets": {"keys": [KEY]},
}


@pytest.fixture
def onward_tables() -> Mapping[str, Any]:
    return TABLES


async def test_an_immediate_job_runs_in_a_process_of_its_own(
    onward_immediate: TestApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables of the environment count there no more than here."""
    monkeypatch.setenv("ONWARD_NO_SUCH_TABLE__KEY", "1")
    monkeypatch.setenv("ONWARD_EMAIL__TRANSPORT", "smtp")
    job = await onward_immediate.accept("apart.mail", to="ada@example.org")
    assert (job.status, job.error) == (S.SUCCEEDED, None)
    assert job.result != os.getpid()
    (message,) = onward_immediate.mail()
    assert message["To"] == "ada@example.org"


async def test_mail_of_a_handler_s_process_goes_to_the_server_that_was_given(
    tmp_path: Path, office: PostOffice
) -> None:
    await office.open()
    tables = {
        **TABLES,
        "email": {"transport": "smtp", "sender": "Shop <shop@example.org>", "smtp": {"port": office.port}},
    }
    async with application_under_test.running("immediate", tmp_path, tables) as app:
        job = await app.accept("apart.mail", to="ada@example.org")
    assert (job.status, job.error) == (S.SUCCEEDED, None)
    (message,) = office.taken
    assert (message.mail_from, message.rcpt_tos) == ("shop@example.org", ["ada@example.org"])


async def test_secrets_of_a_handler_s_process_are_not_in_its_environment(tmp_path: Path) -> None:
    """All processes of the same user may read it there."""
    tables = {**TABLES, "email": {"smtp": {"password": "not to be seen"}}}
    async with application_under_test.running("immediate", tmp_path, tables) as app:
        job = await app.accept("apart.environment")
    assert isinstance(job.result, str)
    assert "ONWARD_PROJECT" in job.result
    assert "not to be seen" not in job.result
    assert KEY not in job.result


async def test_a_handler_s_process_dispatches_parameters_of_any_type(onward_immediate: TestApp) -> None:
    """Paths and sets, which only pydantic writes; a number that JSON would change is refused."""
    job = await onward_immediate.accept("apart.sends")
    assert (job.status, job.error) == (S.SUCCEEDED, None)
    child = job.result
    assert isinstance(child, str)

    async def done() -> bool:
        return (await onward_immediate.job(child)).done

    await until(done)
    kept = await onward_immediate.job(child)
    assert (kept.status, kept.result) == (S.SUCCEEDED, ["PosixPath", "inbox", ["ada", "grace"], 5])


async def test_an_isolated_job_has_the_keys_routes_and_backends_that_were_given(tmp_path: Path) -> None:
    """A backend with an object for an option is not built there; its jobs wait for maintenance."""
    mine = {"class": "tests.integration.handlers.apart:Mine", "client": Client()}
    tables = {
        **TABLES,
        "routes": {"apart.routed": "mine"},
        "backends": {"mine": mine},
    }
    async with application_under_test.running("immediate", tmp_path, tables) as app:
        new = app.onward.dispatcher.prepare("apart.pay", {"card": "1234"}, owner=None)

        def accept(tx: Tx) -> Any:
            job = app.onward.dispatcher.accept(tx, new)
            tx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(deaths=CRASHES_BEFORE_ISOLATION))
            return job

        job = await app.onward.writer.run(accept)
        app.onward.dispatcher.dispatch([job])

        async def done() -> bool:
            return (await app.job(job.id)).done

        await until(done)
        found = await app.job(job.id)
        assert (found.status, found.error) == (S.SUCCEEDED, None)
        assert isinstance(found.result, dict)
        assert found.result["digits"] == 4
        assert found.result["pid"] != os.getpid()
        child = await app.job(found.result["child"])
        assert (child.status, child.backend) == (S.QUEUED, "mine")
