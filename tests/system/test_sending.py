"""`onward jobs send`: options become parameters, and the id of the accepted job is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onward import JobContext, handler
from onward.cli.sending import BadOption, parameters
from onward.jobs import ledger
from onward.jobs.states import JobStatus
from onward.storage.engine import Database
from tests.integration.test_enqueue import write_settings
from tests.processes import onward


@handler("test.order")
async def order(
    job: JobContext, *, name: str, tags: list[str], more: dict[str, int], count: int = 1, gift: bool = False
) -> None: ...


@pytest.mark.parametrize(
    ("words", "params"),
    [
        (["--name", "17"], {"name": "17"}),
        (["--name=a=b", "--count", "3"], {"name": "a=b", "count": 3}),
        (["--gift"], {"gift": True}),
        (["--no-gift"], {"gift": False}),
        (["--tags", "1"], {"tags": ["1"]}),
        (["--tags", "1", "--tags", "b"], {"tags": ["1", "b"]}),
        (["--more", '{"a": 1}'], {"more": {"a": 1}}),
        (["--count", "many"], {"count": "many"}),
    ],
)
def test_options_become_parameters(words: list[str], params: dict[str, Any]) -> None:
    assert parameters(order, words) == params


@pytest.mark.parametrize("words", [["--oder", "x"], ["name"], ["--name"]])
def test_a_wrong_option_is_refused(words: list[str]) -> None:
    with pytest.raises(BadOption):
        parameters(order, words)


async def test_a_job_is_sent_and_refusals_say_why(tmp_path: Path, sqlite_ledger: str) -> None:
    write_settings(tmp_path, sqlite_ledger)
    sent = onward("jobs", "send", "conformance.note", "--folder", "x", "--run-at", "2099-01-01", project=tmp_path)
    assert sent.returncode == 0, sent
    database = Database(sqlite_ledger)
    job = await database.read(lambda tx: ledger.get(tx, sent.stdout.strip()))
    database.close()
    assert job is not None
    assert (job.status, job.params["folder"]) == (JobStatus.SCHEDULED, "x")
    refused = onward("jobs", "send", "conformance.note", "--json", '{"text": 5}', project=tmp_path)
    assert (refused.returncode, "folder" in refused.stderr) == (1, True), refused
    unknown = onward("jobs", "send", "no.such", project=tmp_path)
    assert (unknown.returncode, "no.such" in unknown.stderr) == (3, True), unknown
