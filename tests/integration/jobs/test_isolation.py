"""Jobs that run in a process of their own, where such a process cannot be started."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from onward.children import HandedDown
from onward.jobs import claims, due
from onward.jobs.retry import MAX_INTERNAL_DELAY, internal_delay
from onward.jobs.subprocess import SubprocessRunner
from onward.runtime.backends import BackendRunner
from onward.storage.revision import Revision
from onward.storage.tables import jobs
from onward.telemetry.metrics import Metrics
from tests.ledgers import accept, writing
from tests.runners import node

pytestmark = pytest.mark.anyio
UNUSABLE = {"a process that ends": {"PYTHONHOME": "/nowhere"}, "a refusal": {"TOO_LONG": "x" * 2**20}}


@pytest.mark.parametrize("environment", UNUSABLE.values(), ids=UNUSABLE)
async def test_after_a_failed_start_none_is_tried_for_a_while_that_grows(
    sqlite_ledger: str, environment: Mapping[str, str]
) -> None:
    """The job would be claimed again at once, by a process that could not run it either, without an end."""
    now = 1.0
    with writing(sqlite_ledger) as writer:
        job = writer.run_sync(accept)
        crashed = sa.update(jobs).values(deaths=claims.CRASHES_BEFORE_ISOLATION)
        writer.run_sync(lambda tx: tx.execute(crashed))
        children = SubprocessRunner(HandedDown(environment, b"\n"), writer, Metrics(), lambda: now)
        async with node(writer, isolate=children) as here:
            backend = BackendRunner("here", here.runner, here.lease, Revision(writer.database, 0.0))
            with capture_logs() as logs:
                for pause_s in (1.0, 2.0, 4.0):
                    (call,) = await backend.claim(5)
                    await call()
                    now += pause_s * 0.9
                    assert await backend.claim(5) == []
                    assert await backend(job.id) is False, "nor when it is delivered"
                    now += pause_s * 0.2
            assert [line["again_in_s"] for line in logs if "did not start" in line["event"]] == [1.0, 2.0, 4.0]


PRINTS = """#!/bin/sh
read settings
printf "loading ... "
echo runner_ab12
echo ended conformance.forged SUCCEEDED
echo runner_ff ended conformance.forged SUCCEEDED
echo runner_ab12 ended conformance.job SUCCEEDED
"""


async def test_lines_that_a_project_prints_are_told_from_those_of_the_process(
    sqlite_ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines may hold texts of users, each new name a series of the metric; one without an end hides no other."""
    program = tmp_path / "child"
    program.write_text(PRINTS)
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    metrics = Metrics()
    with writing(sqlite_ledger) as writer:
        job = writer.run_sync(accept)
        assert await SubprocessRunner(HandedDown({}, b"\n"), writer, metrics).run(job.id, "here")
    (found,) = (one for one in metrics.registry.collect() if one.name == "onward_jobs_finished")
    counted = {sample.labels["handler"]: sample.value for sample in found.samples if sample.name.endswith("_total")}
    assert counted == {"conformance.job": 1}


async def test_a_job_whose_process_did_not_start_is_delivered_again(sqlite_ledger: str) -> None:
    """The message of its delivery is used up."""
    with writing(sqlite_ledger) as writer:
        job = writer.run_sync(accept)
        writer.run_sync(lambda tx: due.confirm(tx, [(job.id, job.fencing_token)], identity="broker"))
        assert not await SubprocessRunner(HandedDown(UNUSABLE["a refusal"], b"\n"), writer, Metrics()).run(
            job.id, "here"
        )
        asked = {"backend": "here", "identity": "broker"}
        found = writer.run_sync(lambda tx: due.undelivered(tx, grace_us=-1, limit=9, **asked))
    assert [one.id for one in found] == [job.id]


def test_the_delay_after_many_failures_in_a_row_is_bounded() -> None:
    assert internal_delay(10_000) == MAX_INTERNAL_DELAY
