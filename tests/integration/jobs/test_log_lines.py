"""The log lines of jobs: with the commits there are, under the claim alone, bounded, and gone with the job."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from onward.handlers.base import JobContext, Permanent, Retry, handler, sequence
from onward.jobs import claims, commands, job_log, log_lines
from onward.jobs.job_log import shown
from onward.jobs.log_level import LogLevel
from onward.jobs.log_lines import LogBatch, Piece
from onward.jobs.model import Job, JobLogLine, Visible
from onward.jobs.states import JobStatus
from onward.maintenance.cleaner import Cleaner, Retention
from onward.storage.base import Unavailable
from onward.storage.tables import jobs
from onward.storage.tables import log_lines as table
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry import logger
from tests.ledgers import accept, note_statements
from tests.runners import QUICK, node

S = JobStatus
EVERYTHING = Visible(everything=True)
ONCE = Retry(max_attempts=1)
TWICE = Retry(max_attempts=2, base=timedelta(0), cap=timedelta(0))
SOON = replace(QUICK, log_interval_s=0.02)
NEVER = replace(QUICK, log_interval_s=3600.0)
US = 1_000_000
log = logging.getLogger("tests.shop")
pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _level() -> Any:
    log.setLevel(logging.DEBUG)
    yield
    log.setLevel(logging.NOTSET)


async def lines_of(writer: Writer, job: Job, limit: int = 1_000) -> list[JobLogLine]:
    return await writer.database.read(partial(log_lines.newest, job_id=job.id, limit=limit))


def texts(found: list[JobLogLine]) -> list[str]:
    return [line.text for line in found]


async def first(_job: JobContext) -> str:
    log.info("the first of %s", "two")
    log.debug("too small")
    await asyncio.to_thread(log.warning, "from a thread that asyncio started")
    return "first"


def second(_job: JobContext, _value: str) -> None:
    log.error("the second")
    structlog.get_logger("tests.structured").warning("structured", order="A-17", count=2)
    logger("tests.ours").info("in our own words", key="value")


@pytest.fixture
def structlog_alone() -> Iterator[None]:
    """Structlog as nobody has configured it; afterwards as it was."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


@pytest.mark.usefixtures("structlog_alone")
async def test_the_lines_of_both_steps_are_kept(writer: Writer) -> None:
    """Plain and async functions, threads, structlog through `logging`; each with its step, level and logger."""
    steps = sequence("tests.steps", (first, second), retry=ONCE)
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logging.getLogger("tests.ours").setLevel(logging.INFO)
    async with node(writer, steps, timings=NEVER) as here:
        before = await writer.database.read(lambda tx: tx.now)
        job = await here.run(steps)
        assert job.status is S.SUCCEEDED
        found = await lines_of(writer, job)
    assert [(line.step, line.level, line.logger, line.text) for line in found] == [
        ("first", LogLevel.INFO, "tests.shop", "the first of two"),
        ("first", LogLevel.WARNING, "tests.shop", "from a thread that asyncio started"),
        ("second", LogLevel.ERROR, "tests.shop", "the second"),
        ("second", LogLevel.WARNING, "tests.structured", "structured order=A-17 count=2"),
        ("second", LogLevel.INFO, "tests.ours", "in our own words key=value"),
    ]
    assert {line.attempt for line in found} == {1}
    times = [line.time for line in found]
    assert before - US < min(times) <= max(times) < before + 20 * US
    assert [*map(texts, [await lines_of(writer, job, 2), await lines_of(writer, job, 0)])] == [texts(found)[-2:], []]


@pytest.mark.usefixtures("structlog_alone")
async def test_our_own_lines_are_kept_where_nobody_configures_structlog(writer: Writer) -> None:
    """An error of the handler is among them, with its traceback below the message."""

    @handler("tests.fails", retry=ONCE)
    async def fails(_job: JobContext) -> None:
        logger("tests.ours").debug("too small")
        logger("tests.ours").info("in our own words", key="value")
        raise ValueError("it broke")

    async with node(writer, fails, timings=NEVER) as here:
        job = await here.run(fails)
        ours, raised = await lines_of(writer, job)
    assert (ours.level, ours.logger, ours.text) == (LogLevel.INFO, "tests.ours", "in our own words key=value")
    assert raised.level is LogLevel.ERROR
    assert raised.text.startswith("handler raised step=fails\nTraceback (most recent call last):")
    assert raised.text.endswith("ValueError: it broke")


async def test_a_job_that_logs_nothing_costs_no_statement_more(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(_job: JobContext) -> str:
        return "first"

    async def still(_job: JobContext, value: str) -> str:
        return value

    @handler("tests.loud", retry=ONCE)
    async def loud(_job: JobContext) -> None:
        log.warning("a line")

    steps = sequence("tests.silent", (silent, still), retry=ONCE)
    async with node(writer, steps, loud, timings=SOON) as here:
        seen = note_statements(writer, monkeypatch)
        assert (await here.run(steps)).status is S.SUCCEEDED
        assert any("UPDATE" in text for text in seen)
        assert not [text for text in seen if "log_lines" in text]
        await here.run(loud)
        assert [text for text in seen if "log_lines" in text]


async def test_lines_are_written_with_the_commits_there_are(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that logs takes as many transactions as one that does not."""
    counts: list[int] = []
    run = writer.run

    async def counted(*arguments: Any) -> Any:
        counts[-1] += 1
        return await run(*arguments)

    async def step(job: JobContext) -> str:
        if job.handler == "tests.loud":
            log.info("a line")
        return "first"

    async def other(job: JobContext, _value: str) -> None:
        if job.handler == "tests.loud":
            log.info("another")

    loud, silent = (sequence(name, (step, other), retry=ONCE) for name in ("tests.loud", "tests.silent"))
    async with node(writer, loud, silent) as here:
        accepted = [await here.accept(loud), await here.accept(silent)]
        monkeypatch.setattr(writer, "run", counted)
        for job in accepted:
            counts.append(0)
            await here.start(job)
        assert texts(await lines_of(writer, accepted[0])) == ["a line", "another"]
    assert counts[0] == counts[1] > 0


async def test_jobs_that_end_in_one_commit_keep_their_own_lines(writer: Writer) -> None:
    @handler("tests.many", retry=ONCE)
    async def many(job: JobContext) -> None:
        log.info("of %s", job.id)

    async with node(writer, many) as here:
        accepted = [await here.accept(many) for _ in range(20)]
        await asyncio.gather(*map(here.start, accepted))
        for job in accepted:
            assert texts(await lines_of(writer, job)) == [f"of {job.id}"]


async def test_a_step_that_runs_on_shows_its_lines_meanwhile(writer: Writer) -> None:
    """Each line is there once, whatever is written ahead of the step's end."""
    go = asyncio.Event()

    @handler("tests.long", retry=ONCE)
    async def long(_job: JobContext) -> None:
        for n in range(30):
            log.info("line %s", n)
            await asyncio.sleep(0.005)
        await go.wait()
        log.info("the last one")

    async with node(writer, long, timings=SOON) as here:
        job = await here.accept(long)
        task = here.start(job)
        expected = [f"line {n}" for n in range(30)]
        async with asyncio.timeout(20):
            while texts(await lines_of(writer, job)) != expected:
                await asyncio.sleep(0.01)
        go.set()
        await task
        assert texts(await lines_of(writer, job)) == [*expected, "the last one"]


async def test_attempts_and_runs_are_told_apart(writer: Writer) -> None:
    @handler("tests.fails", retry=TWICE)
    async def fails(job: JobContext) -> None:
        log.info("attempt %s", job.attempt)
        raise Permanent("for good") if job.attempt > 1 else ValueError("for now")

    async with node(writer, fails) as here:
        job = await here.accept(fails)
        await here.start(job)
        await writer.run(lambda tx: tx.execute(_queue, id_=job.id))
        await here.start(job)
        await writer.run(lambda tx: commands.retry(tx, job.id, from_start=True, visible=EVERYTHING, route=_here))
        await here.start(job)
        found = [line for line in await lines_of(writer, job) if line.logger == "tests.shop"]
    assert [(line.attempt, line.text) for line in found] == [(n, f"attempt {n}") for n in (1, 2, 3)]


_queue = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("id_"), jobs.c.status == "RETRYING")
    .values(status="QUEUED", due_at=0)
)


def _here(_handler: str, _present: str = "") -> str:
    return "here"


@pytest.mark.parametrize("way", ["timeout", "cancel", "drain"])
async def test_no_end_of_an_attempt_loses_its_last_line(writer: Writer, way: str) -> None:
    started = asyncio.Event()

    @handler(f"tests.{way}", retry=ONCE, timeout=timedelta(seconds=0.1) if way == "timeout" else None)
    async def ends(_job: JobContext) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            log.info("the last word")

    async with node(writer, ends, timings=NEVER) as here:
        job = await here.accept(ends)
        task = here.start(job)
        await started.wait()
        if way == "cancel":
            await writer.run(lambda tx: commands.cancel(tx, job.id, reason=None, visible=EVERYTHING))
        if way == "drain":
            await here.runner.drain(0.2)
        await task
        assert "the last word" in texts(await lines_of(writer, job))


async def test_a_superseded_attempt_writes_no_line(writer: Writer) -> None:
    """A context that outlives the attempt does not keep it either."""
    go, held = asyncio.Event(), list[object]()

    @handler("tests.late", retry=ONCE)
    async def late(job: Any) -> None:
        held.append(job.log)
        await go.wait()
        log.info("late")
        assert "late" in repr(gc.get_referents(job.log))

    async with node(writer, late) as here:
        job = await here.accept(late)
        task = here.start(job)
        await here.is_now(job, S.RUNNING)
        take = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(token=jobs.c.token + 1, runner="other")
        await writer.run(lambda tx: tx.execute(take, id_=job.id))
        go.set()
        await task
        assert await lines_of(writer, job) == []
        assert "late" not in repr(gc.get_referents(*held))


async def test_an_outage_of_the_ledger_loses_no_line(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    away, go, run = asyncio.Event(), asyncio.Event(), writer.run

    async def refused(*arguments: Any) -> Any:
        if away.is_set():
            raise Unavailable("away")
        return await run(*arguments)

    @handler("tests.waits", retry=ONCE)
    async def waits(_job: JobContext) -> None:
        for n in range(3):
            log.info("%s", n)
        await go.wait()

    async with node(writer, waits, timings=SOON) as here:
        job = await here.accept(waits)
        task = here.start(job)
        await here.is_now(job, S.RUNNING)
        monkeypatch.setattr(writer, "run", refused)
        away.set()
        await asyncio.sleep(0.1)
        away.clear()
        go.set()
        await task
        assert texts(await lines_of(writer, job)) == ["0", "1", "2"]


async def test_a_write_whose_outcome_is_unknown_may_be_repeated(writer: Writer) -> None:
    job = await writer.run(accept)
    batch = LogBatch(1, (Piece(0, 1, '[[1,"INFO","a","b","c"]]'),))
    for _ in range(2):
        await writer.run(lambda tx: batch.append(tx, job))
    assert texts(await lines_of(writer, job)) == ["c"]


async def test_a_line_that_follows_a_write_of_unknown_outcome_is_kept(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, run = asyncio.Event(), writer.run

    async def unanswered(transaction: Any, *arguments: Any) -> Any:
        result = await run(transaction, *arguments)
        if "append_under_claim" in repr(transaction) and not lost.is_set():
            lost.set()
            raise Unavailable("no answer")
        return result

    @handler("tests.goes_on", retry=ONCE)
    async def goes_on(_job: JobContext) -> None:
        log.info("before")
        await lost.wait()
        log.info("after")

    monkeypatch.setattr(writer, "run", unanswered)
    async with node(writer, goes_on, timings=SOON) as here:
        job = await here.run(goes_on)
        assert texts(await lines_of(writer, job)) == ["before", "after"]


@pytest.mark.parametrize("bound", ["lines", "bytes"])
async def test_the_newest_lines_of_a_job_are_kept(writer: Writer, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    """Older ones are dropped, those of earlier attempts first, while the job runs and at its end."""
    most, size = (40, 256_000) if bound == "lines" else (1_000, 3_000)
    for module in (log_lines, job_log):
        monkeypatch.setattr(module, "MAX_LINES", most)
        monkeypatch.setattr(module, "MAX_BYTES", size)
    monkeypatch.setattr(job_log, "PIECE_LINES", 4)

    @handler("tests.talks", retry=TWICE)
    async def talks(job: JobContext) -> None:
        for n in range(100):
            log.info("%s %03d", job.attempt, n)
            if n % 7 == 0:
                await asyncio.sleep(0.01)
        if job.attempt == 1:
            raise ValueError("once more")

    async with node(writer, talks, timings=SOON) as here:
        job = await here.accept(talks)
        await here.start(job)
        await writer.run(lambda tx: tx.execute(_queue, id_=job.id))
        await here.start(job)
        found = texts(await lines_of(writer, job))
        held = await writer.database.read(lambda tx: tx.one(_size, job_=job.id))
    assert held is not None
    assert 20 <= len(found) <= 60
    assert found == [f"2 {n:03}" for n in range(100 - len(found), 100)]
    assert held[0] < most + 4
    assert held[1] < size * 1.5


_size = sa.select(sa.func.sum(table.c.lines), sa.func.sum(table.c.size)).where(table.c.job == sa.bindparam("job_"))


async def test_a_flood_that_is_not_written_yet_is_bounded(writer: Writer) -> None:
    """A process holds no more of a job's lines than the ledger keeps, and no line is longer than its bound."""
    waiting: list[int] = []

    @handler("tests.floods", retry=ONCE)
    def floods(job: Any) -> None:
        for n in range(3_000):
            log.info("%s", n)
            waiting.append(job.log.waiting)
        log.info("<%s\0>", "x" * 1_000_000)

    async with node(writer, floods, timings=NEVER) as here:
        job = await here.run(floods)
        *found, last = texts(await lines_of(writer, job))
    assert job.status is S.SUCCEEDED
    assert max(waiting) == log_lines.MAX_LINES
    assert found == [str(n) for n in range(3_000 - len(found), 3_000)]
    assert len(found) > 900
    assert last.startswith("<xxx")
    assert last.endswith("xxx\0>")
    assert len(last) <= job_log.MAX_TEXT


async def test_a_flood_after_a_write_of_unknown_outcome_is_bounded(writer: Writer) -> None:
    """Whole pieces are dropped, and no more of them than the ledger would drop."""
    waiting: list[int] = []

    @handler("tests.floods", retry=ONCE)
    def floods(job: Any) -> None:
        for n in range(3_000):
            log.info("%s", n)
            waiting.append(job.log.waiting)
            if n in {150, 300}:
                job.log.batch()

    async with node(writer, floods, timings=NEVER) as here:
        job = await here.run(floods)
        assert job.status is S.SUCCEEDED
        assert texts(await lines_of(writer, job)) == [str(n) for n in range(2_000, 3_000)]
    assert log_lines.MAX_LINES < max(waiting) < log_lines.MAX_LINES + job_log.PIECE_LINES


def test_half_a_character_is_shown_as_a_question_mark() -> None:
    """By the function alone: pytest's own processes cannot hand on a log with such a text."""
    assert shown("before \ud800 after", ()) == "before ? after"


async def test_lines_of_others_are_not_the_job_s(writer: Writer) -> None:
    """Neither those of threads that a handler starts by itself, nor those after its end, nor those of no job."""

    @handler("tests.leaks", retry=ONCE)
    async def leaks(_job: JobContext) -> None:
        thread = threading.Thread(target=log.info, args=("from a thread of its own",))
        thread.start()
        await asyncio.to_thread(thread.join)
        tasks.append(asyncio.create_task(later()))
        log.info("mine")

    async def later() -> None:
        await go.wait()
        log.info("after the end")

    tasks: list[asyncio.Task[None]] = []
    go = asyncio.Event()
    async with node(writer, leaks, timings=SOON) as here:
        job = await here.run(leaks)
        go.set()
        await tasks[0]
        log.info("of no job")
        assert texts(await lines_of(writer, job)) == ["mine"]


async def test_an_object_that_is_collected_may_log_while_a_line_is_taken(writer: Writer) -> None:
    class Grave:
        def __del__(self) -> None:
            log.info("collected")

    @handler("tests.odd", retry=ONCE)
    def odd(job: Any) -> None:
        with job.log._log.lock:
            grave: Any = Grave()
            grave.me = grave
            del grave
            gc.collect()
        log.info("fine")

    async with node(writer, odd) as here:
        job = await here.run(odd)
        assert texts(await lines_of(writer, job)) == ["collected", "fine"]


async def test_a_record_that_cannot_be_formatted_is_told_and_left_out(
    writer: Writer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step goes on, as with any handler of `logging`."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's raises the error

    @handler("tests.odd", retry=ONCE)
    def odd(_job: JobContext) -> None:
        log.info("two of %s and %s", *["one"])
        log.info("fine")

    async with node(writer, odd) as here:
        job = await here.run(odd)
        assert job.status is S.SUCCEEDED
        assert texts(await lines_of(writer, job)) == ["fine"]
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.parametrize(("level", "kept"), [("debug", 3), ("warning", 1), ("off", 0)])
async def test_the_setting_chooses_the_least_level(writer: Writer, level: str, kept: int) -> None:
    @handler("tests.levels", retry=ONCE)
    async def levels(_job: JobContext) -> None:
        for one in (log.debug, log.info, log.error):
            one("a line")

    number = job_log.OFF if level == "off" else logging.getLevelNamesMapping()[level.upper()]
    async with node(writer, levels, log_level=number) as here:
        assert len(await lines_of(writer, await here.run(levels))) == kept


async def test_lines_go_with_their_job(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit deletes many rows of lines; a job that has more goes alone."""
    monkeypatch.setattr(job_log, "PIECE_LINES", 1)
    monkeypatch.setattr("onward.jobs.chunks.COUNTED_AT_ONCE", 4)

    @handler("tests.old", retry=ONCE)
    async def old(_job: JobContext) -> None:
        for n in range(3):
            log.info("%s", n)

    async with node(writer, old) as here:
        ended = [await here.run(old) for _ in range(5)]
    aged = sa.update(jobs).values(finished_at=1)
    await writer.run(lambda tx: tx.execute(aged))
    ids = [job.id for job in ended]
    assert len(await writer.database.read(lambda tx: log_lines.deletable(tx, ids))) == 1
    assert await Cleaner(writer, Retention(timedelta(days=1), None)).prune() == 5
    assert await writer.database.read(lambda tx: tx.all(sa.select(table))) == []


async def test_a_claim_that_is_over_takes_no_lines(writer: Writer) -> None:
    job = await writer.run(accept)
    claim = partial(claims.claim, job_id=job.id, runner="other", worker="w", backend="here", isolated=True)
    batch = LogBatch(1, (Piece(0, 1, '[[1,"INFO","a","b","c"]]'),))

    def write(tx: Tx) -> bool:
        return batch.append_under_claim(tx, replace(job, fencing_token=99))

    await writer.run(claim)
    assert not await writer.run(write)
    assert await lines_of(writer, job) == []


async def test_warnings_are_printed_where_nobody_has_configured_logging(
    writer: Writer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python does so without a handler; with one of somebody's, that one alone prints."""

    @handler("tests.warns", retry=ONCE)
    async def warns(_job: JobContext) -> None:
        log.info("not shown")
        log.warning("shown once")

    async def printed() -> str:
        async with node(writer, warns) as here:
            await here.run(warns)
        return capsys.readouterr().err

    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    assert await printed() == "shown once\n"
    assert root.handlers == []
    monkeypatch.setattr(root, "handlers", [logging.NullHandler()])
    assert await printed() == ""
