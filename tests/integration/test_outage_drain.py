"""A process that is told to end while its ledger is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from onward.backends.base import Role
from onward.config.settings import load
from onward.handlers.base import JobContext, handler
from onward.jobs.timings import Timings
from onward.runtime import wiring
from tests import application
from tests.integration.telemetry.conftest import until


@handler("tests.until_away")
async def until_away(job: JobContext, *, file: str) -> None:
    while not await asyncio.to_thread(Path(file).exists):
        job.check()
        await asyncio.sleep(0.01)


async def test_a_drain_ends_when_nothing_is_left_but_to_record_and_the_ledger_stays_away(tmp_path: Path) -> None:
    """One that lasts as long as it may, ten minutes, would not end within one."""
    application.write(tmp_path, f'[server]\ndrain_s = 600\n[handlers]\nmodules = ["{__name__}"]\n')
    settings = load(tmp_path)
    file, away = tmp_path / "var" / "onward.db", tmp_path / "away.db"
    with structlog.testing.capture_logs() as lines:
        async with wiring.run_process(settings, Role.ACCEPT, timings=Timings(outage_grace_s=0.2)) as onward:
            runner, dispatcher = onward.runner, onward.dispatcher
            new = dispatcher.prepare("tests.until_away", {"file": str(away)}, owner=None)
            (job,) = await onward.writer.run(lambda tx: [dispatcher.accept(tx, new)])
            await dispatcher.deliver([job], after_response=dispatcher.defer)
            await until(lambda: runner.busy > 0)
            file.rename(away)
            async with asyncio.timeout(60):
                await onward.drain()
            away.rename(file)
    assert [line["jobs"] for line in lines if line["event"].startswith("the ledger is away")] == [[job.id]]
