"""Metrics: each event is counted once, where it happens, and every process exposes them."""

import asyncio
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pysqlite3
import pytest
import sqlalchemy as sa

from onward.config import settings
from onward.config.settings import SettingsError
from onward.dispatch import queue_stats
from onward.jobs import claims, ledger, schedule_rows
from onward.jobs.places import place
from onward.jobs.schedule_entry import Entry
from onward.jobs.states import TERMINAL, JobStatus
from onward.storage import tables
from onward.storage.base import Unavailable
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry.endpoint import Endpoint, NoPort
from onward.telemetry.metrics import Figure, Metrics
from tests import application
from tests.integration.graphql.conftest import running as serving
from tests.integration.graphql.conftest import settings_in
from tests.integration.telemetry.conftest import processing, until
from tests.ledgers import OLDER, new_job
from tests.servers import free_port

REGISTER = sa.insert(tables.runners)
CRASHES = sa.update(tables.jobs).returning(tables.jobs.c.id)


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as response:
        return str(response.read().decode())


async def test_finished_jobs_are_counted_by_handler_and_status(tmp_path: Path) -> None:
    async with processing(tmp_path) as process:
        child = (await process.run("tests.further")).result
        await process.over(child)
        assert (await process.run("tests.fail", word="x")).status is JobStatus.FAILED
        samples = process.metrics()
    for of, status in (("further", "SUCCEEDED"), ("talk", "SUCCEEDED"), ("fail", "FAILED")):
        assert samples[f'onward_jobs_started_total{{handler="tests.{of}"}}'] == 1
        assert samples[f'onward_jobs_finished_total{{handler="tests.{of}",status="{status}"}}'] == 1
        assert samples[f'onward_wait_seconds_count{{handler="tests.{of}"}}'] == 1
        assert samples[f'onward_run_seconds_count{{handler="tests.{of}"}}'] == 1
    assert samples['onward_jobs_accepted_total{handler="tests.talk"}'] == 1
    assert samples['onward_jobs{status="SUCCEEDED"}'] == 2
    assert samples["onward_jobs_running"] == 0


async def test_a_job_that_maintenance_delivers_is_counted_once_it_is_committed(tmp_path: Path) -> None:
    """The transaction of a failure and its job may be undone, and run again."""
    async with processing(tmp_path) as process:
        dispatcher, writer = process.onward.dispatcher, process.onward.writer
        new = dispatcher.prepare("tests.talk", {}, owner=None)

        def undone(tx: Tx) -> None:
            dispatcher.accept_undelivered(tx, new)
            raise LookupError

        with pytest.raises(LookupError):
            await writer.run(undone)
        assert process.metrics()['onward_jobs_accepted_total{handler="tests.talk"}'] == 0
        await writer.run(partial(dispatcher.accept_undelivered, new=new))
        assert process.metrics()['onward_jobs_accepted_total{handler="tests.talk"}'] == 1


async def test_a_failed_attempt_with_another_one_to_follow_is_a_retry(tmp_path: Path) -> None:
    async with processing(tmp_path) as process:
        await process.run("tests.unsure")
        samples = process.metrics()
    assert samples['onward_job_retries_total{handler="tests.unsure"}'] == 1
    assert samples['onward_jobs_started_total{handler="tests.unsure"}'] == 2
    assert samples['onward_jobs_finished_total{handler="tests.unsure",status="SUCCEEDED"}'] == 1
    assert samples['onward_jobs_finished_total{handler="tests.unsure",status="FAILED"}'] == 0


async def test_waiting_jobs_are_counted_by_their_handler(tmp_path: Path) -> None:
    """Each handler has a series; those that the process does not know share one."""
    async with processing(tmp_path, backend="dramatiq") as process:
        new = process.onward.dispatcher.prepare("tests.talk", {}, owner=None)
        for handler in ("tests.talk", "tests.talk", "later.one", "later.two"):
            await process.onward.writer.run(partial(ledger.accept, new=replace(new, handler=handler)))
        long_ago = sa.update(tables.jobs).where(tables.jobs.c.handler == "tests.talk").values(due_at=1)
        await process.onward.writer.run(lambda tx: tx.execute(long_ago))
        samples = process.metrics()
    assert samples['onward_handler_depth{handler="(other)"}'] == 2
    assert samples['onward_handler_depth{handler="tests.fail"}'] == 0
    assert samples['onward_backend_depth{backend="dramatiq"}'] == 4
    assert samples['onward_handler_oldest_seconds{handler="tests.talk"}'] > 1_000_000_000
    assert samples['onward_backend_oldest_seconds{backend="dramatiq"}'] > 1_000_000_000
    assert 0 <= samples['onward_handler_oldest_seconds{handler="(other)"}'] < 1_000


def test_figures_that_take_long_are_read_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading of 0.5 s is kept for 5 s, a short one for a second."""
    now, read, took = [100.0], [0], [0.5]

    def figures() -> list[Figure]:
        read[0] += 1
        now[0] += took[0]
        return [Figure("onward_jobs", "Jobs.", "", {"": 1.0})]

    monkeypatch.setattr("onward.telemetry.metrics.time", SimpleNamespace(monotonic=lambda: now[0]))
    metrics = Metrics()
    metrics.add(figures)
    for passed_s, times in ((0.0, 1), (4.9, 1), (0.2, 2)):
        now[0] += passed_s
        metrics.text(own=False)
        assert read[0] == times
    now[0], took[0] = 200.0, 0.01
    for passed_s, times in ((0.0, 3), (0.9, 3), (0.2, 4)):
        now[0] += passed_s
        metrics.text(own=False)
        assert read[0] == times


def test_schedules_that_cannot_tick_and_a_history_that_is_behind_are_seen(writer: Writer) -> None:
    """A paused schedule is none of them."""

    def figures() -> dict[str, float]:
        found = queue_stats.ask(writer, cast(Any, SimpleNamespace(backends={})), ())
        return {figure.name: figure.values[""] for figure in found if "" in figure.values}

    for name in ("held", "paused", "well"):
        entry = Entry.checked(name, new_job(), "0 0 1 1 *", "UTC")
        writer.run_sync(partial(schedule_rows.insert, entry=entry, by=None))
    before = figures()
    problem = sa.update(tables.schedules).where(tables.schedules.c.name != "well").values(problem="no zone")
    paused = sa.update(tables.schedules).where(tables.schedules.c.name == "paused").values(paused_at=1)
    for change in (problem, paused, sa.insert(tables.figures).values(at=1, data="[]")):
        writer.run_sync(lambda tx, change=change: tx.execute(change))  # type: ignore[misc]
    after = figures()
    assert (before["onward_schedules_held"], before["onward_history_behind_seconds"]) == (0, 0)
    assert after["onward_schedules_held"] == 1
    assert after["onward_history_behind_seconds"] > 1_000_000_000


async def test_jobs_that_expire_are_counted_by_their_handler(tmp_path: Path) -> None:
    async with processing(tmp_path, backend="dramatiq") as process:
        new = process.onward.dispatcher.prepare("tests.talk", {}, owner=None, expires=timedelta(milliseconds=1))
        await process.onward.writer.run(lambda tx: process.onward.dispatcher.accept(tx, new))
        await until(lambda: process.metrics()['onward_jobs_expired_total{handler="tests.talk"}'] == 1)
        assert process.metrics()['onward_jobs_finished_total{handler="tests.talk",status="CANCELLED"}'] == 1


async def test_a_first_failure_is_an_increase(tmp_path: Path) -> None:
    """Prometheus sees a counter grow only from a known value, so each handler's starts at 0."""
    async with processing(tmp_path) as process:
        samples = process.metrics()
    for counter in ("jobs_accepted", "jobs_started", "jobs_expired", "job_retries", "event_loop_blocked"):
        assert samples[f'onward_{counter}_total{{handler="tests.fail"}}'] == 0
    for status in TERMINAL:
        assert samples[f'onward_jobs_finished_total{{handler="tests.fail",status="{status}"}}'] == 0


async def test_reclaimed_jobs_of_a_dead_process_are_counted_and_a_poison_job_has_failed(tmp_path: Path) -> None:
    """The process that notices the death counts the jobs."""
    boot, namespace, pid, _ = place().split("/")
    async with processing(tmp_path, routes={"tests.talk": "dramatiq"}) as process:
        new = process.onward.dispatcher.prepare("tests.talk", {}, owner=None)

        def died(tx: Tx) -> None:
            place_ = f"{boot}/{namespace}/{pid}/1"
            tx.execute(REGISTER, id="dead", beat=1, place=place_, name="dead", started_at=1, **OLDER)
            for crashes in (0, claims.MAX_CRASHES):
                job = ledger.accept(tx, new)
                tx.execute_once(CRASHES.where(tables.jobs.c.id == job.id).values(deaths=crashes))
                assert claims.claim(tx, job.id, runner="dead", worker="w", backend="dramatiq", isolated=True)

        await process.onward.writer.run(died)
        await until(lambda: process.metrics()["onward_lease_rescues_total"] == 2)
        assert process.metrics()['onward_jobs_finished_total{handler="tests.talk",status="FAILED"}'] == 1


async def test_an_isolated_job_is_counted_by_the_parent_of_its_process(tmp_path: Path) -> None:
    """Nobody scrapes a process that runs one job and is gone a moment later."""
    application.write(tmp_path, '[handlers]\nmodules = ["tests.integration.telemetry.telemetry_handlers"]\n')
    async with processing(tmp_path) as process:
        new = process.onward.dispatcher.prepare("tests.talk", {}, owner=None)

        def dangerous(tx: Tx) -> str:
            job = ledger.accept(tx, new)
            tx.execute_once(CRASHES.where(tables.jobs.c.id == job.id).values(deaths=claims.CRASHES_BEFORE_ISOLATION))
            return job.id

        job = await process.over(await process.onward.writer.run(dangerous))
        assert job.attempts[-1].worker != process.onward.lease.name
        ended = 'onward_jobs_finished_total{handler="tests.talk",status="SUCCEEDED"}'
        await until(lambda: process.metrics().get(ended) == 1)


@pytest.mark.parametrize("error", [Unavailable("away"), pysqlite3.OperationalError("no such table: onward_counts")])
async def test_without_its_ledger_a_process_still_serves_its_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The ledger does not answer, or has no tables while a backup is restored."""

    def away(_function: Any) -> Any:
        raise error

    async with processing(tmp_path) as process:
        await process.run("tests.talk")
        monkeypatch.setattr(process.onward.database, "read_sync", away)
        samples = process.metrics()
        health = await process.onward.dispatcher.health()
        assert [found.depth for found in health.values()] == [None] * len(health)
    assert samples["onward_ledger_up"] == 0
    assert samples['onward_jobs_started_total{handler="tests.talk"}'] == 1
    assert not any(name.startswith("onward_jobs{") for name in samples)


def test_each_process_has_its_own_address_with_the_next_free_port() -> None:
    port = free_port()
    first = Endpoint(Metrics().registry, f"127.0.0.1:{port}")
    second = Endpoint(Metrics().registry, f"127.0.0.1:{port}")
    try:
        assert first.url == f"http://127.0.0.1:{port}/metrics"
        assert first.url != second.url
        assert "onward_jobs_running 0" in scrape(first.url)
        assert "onward_jobs_running 0" in scrape(second.url)
    finally:
        first.close()
        second.close()


def test_a_replacement_serves_its_metrics_at_the_port_of_the_process_that_has_ended() -> None:
    former = Endpoint(Metrics().registry, f"127.0.0.1:{free_port()}")
    known = former.url
    replacement = Endpoint(Metrics().registry, known.removeprefix("http://").removesuffix("/metrics"))
    try:
        assert not replacement.move(), "it is taken still"
        former.close()
        assert replacement.move()
        assert replacement.url == known
        assert "onward_jobs_running 0" in scrape(known)
    finally:
        replacement.close()


def test_an_unusable_address_is_reported_in_one_line() -> None:
    with pytest.raises(NoPort, match=r"^192\.0\.2\.1:9464 cannot be listened on: "):
        Endpoint(Metrics().registry, "192.0.2.1:9464")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("metrics", "9464", "must be HOST:PORT, as in 127.0.0.1:9464"),
        ("metrics", "localhost:70000", "must be HOST:PORT, as in 127.0.0.1:9464"),
        ("traces", "collector:4318", 'must be "console" or a URL that begins with http:// or https://'),
        ("traces", "http://collector:otlp", "number as its port"),
    ],
)
def test_an_invalid_setting_is_reported_in_one_line(key: str, value: str, words: str, tmp_path: Path) -> None:
    application.write(tmp_path, f'[telemetry]\n{key} = "{value}"\n')
    with pytest.raises(SettingsError, match=rf"telemetry\.{key}") as refusal:
        settings.load(tmp_path)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


async def test_processes_that_share_a_port_serve_metrics_of_the_installation_there(tmp_path: Path) -> None:
    """Each scrape would reach another process and its counters; a process's own address has those."""
    own = f"127.0.0.1:{free_port()}"
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    async with serving(settings_in(tmp_path, server={"workers": 2}, telemetry={"metrics": own})) as api:
        job = (await api.mutate("processItem", item="a", runAt=later))["job"]
        assert (await api.mutate("cancelJob", "job { status }", id=job["id"]))["job"]["status"] == "CANCELLED"
        shared = (await api.http.get("/metrics")).text
        alone = await asyncio.to_thread(scrape, f"http://{own}/metrics")
    assert 'onward_jobs{status="CANCELLED"} 1.0' in shared
    assert "onward_jobs_accepted" not in shared
    assert 'onward_jobs_accepted_total{handler="steps.process_item"} 1.0' in alone
    assert 'onward_jobs_finished_total{handler="steps.process_item",status="CANCELLED"} 1.0' in alone
