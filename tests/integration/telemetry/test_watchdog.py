"""The watchdog names handlers that block the event loop, and no others."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from onward import telemetry
from onward.children import ForkGuard
from onward.jobs.states import JobStatus
from onward.telemetry import watchdog
from onward.telemetry.metrics import Metrics
from onward.telemetry.watchdog import CurrentWork, Watchdog
from tests.integration.telemetry.conftest import processing, until

WHO = CurrentWork("shop.pack", "pack", "job_1")


def blocked(metrics: Metrics) -> str:
    return next((line for line in metrics.text().decode().splitlines() if line.startswith("onward_event_loop_b")), "")


async def test_a_handler_that_blocks_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], logging_as_it_was: None
) -> None:
    telemetry.configure("production")
    async with processing(tmp_path) as process:
        job = await process.run("tests.block", seconds=0.15)
        assert process.metrics()['onward_event_loop_blocked_total{handler="tests.block"}'] == 1
    (entry,) = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"watchdog"' in line]
    assert (entry["handler"], entry["step"], entry["job"]) == ("tests.block", "block", job.id)
    assert entry["seconds"] >= 0.15


async def test_the_place_that_blocks_the_loop_is_logged_while_it_blocks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], logging_as_it_was: None
) -> None:
    telemetry.configure("production")
    async with processing(tmp_path) as process:
        assert (await process.run("tests.block", seconds=2.0)).status is JobStatus.SUCCEEDED
    entry = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"watchdog"' in line]
    assert "stands still" in entry[0]["event"]
    assert (entry[0]["handler"], entry[0]["step"]) == ("tests.block", "block")
    assert "telemetry_handlers.py:" in entry[0]["at"]


async def test_only_the_time_between_awaits_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten pieces of 90 ms with long waits between them block nobody; one of 110 ms does."""
    now = 0.0
    monkeypatch.setattr(watchdog, "perf_counter", lambda: now)
    metrics = Metrics()

    async def work(*pieces: float) -> str:
        nonlocal now
        for piece in pieces:
            now += piece
            await asyncio.sleep(0)
        return "done"

    assert await Watchdog(metrics).pieces(work(*[0.09] * 10), WHO, ForkGuard()) == "done"
    assert not blocked(metrics)
    assert await Watchdog(metrics).pieces(work(0.11), WHO, ForkGuard()) == "done"
    assert blocked(metrics) == 'onward_event_loop_blocked_total{handler="shop.pack"} 1.0'


async def test_exceptions_pass_into_and_out_of_a_watched_coroutine() -> None:
    heard: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise KeyError("out") from None

    async def whole() -> Any:
        return await Watchdog(Metrics()).pieces(work(), WHO, ForkGuard())

    task = asyncio.create_task(whole())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(KeyError, match="out"):
        await task
    assert heard == ["cancelled"]


async def test_the_delay_of_an_idle_loop_is_measured(tmp_path: Path) -> None:
    async with processing(tmp_path) as process:
        await until(lambda: process.metrics()["onward_event_loop_delay_seconds_count"] >= 2)
