"""The history: its figures are those of the rows, to the job, however jobs end and whenever they are added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from onward.jobs import claims, commands, expiry, history_rows, ledger, recording, recovery, sketch, stats
from onward.jobs.error_text import MESSAGE_CHARACTERS
from onward.jobs.model import Job, JobError, Visible
from onward.jobs.outcome import Outcome
from onward.jobs.states import JobStatus
from onward.jobs.stats import HandlerStats, Span, TooMuch, WrongRange
from onward.jobs.stats_step import DAY_US, HOUR_US, KEPT_US, LENGTH_US, MINUTE_US, StatsStep
from onward.jobs.timings import Timings
from onward.maintenance.history import History
from onward.storage.counters import FIGURES
from onward.storage.tables import failures, figures, history, jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.integration.storage.test_writer import together
from tests.ledgers import accept, pass_a_moment, route, writing

S = JobStatus
ALL = Visible(everything=True)
LATE = 9_000_000_000_000_000
_kept = sa.select(sa.func.count()).select_from(figures)
_rows = sa.select(history).order_by(history.c.step, history.c.from_at, history.c.handler)
_groups = sa.select(failures)
_set_expired = sa.update(jobs).where(jobs.c.id == sa.bindparam("id_")).values(expires_at=1)
_set_at = sa.update(figures).values(at=sa.bindparam("new_at"))
_recount = sa.select(jobs.c.handler, jobs.c.status, sa.func.count(), sa.func.sum(jobs.c.attempt)).group_by(
    jobs.c.handler, jobs.c.status
)


def around(tx: Tx) -> Span:
    return Span(tx.now - HOUR_US, tx.now + HOUR_US)


def look(writer: Writer, begin: int, finish: int, **named: Any) -> list[HandlerStats]:
    return writer.run_sync(lambda tx: stats.stats(tx, Span(begin, finish), **named))


def one(writer: Writer, **named: Any) -> dict[str, int]:
    (found,) = writer.run_sync(lambda tx: stats.stats(tx, around(tx), **named))
    return found.counts


def started(tx: Tx, **values: Any) -> Job:
    job = accept(tx, **values)
    found = claims.claim(tx, job.id, runner="one", worker="w", backend="here", isolated=False)
    assert found is not None
    return found


def end(tx: Tx, job: Job, status: JobStatus, message: str = "words", code: str = "E") -> None:
    error = None if status is S.SUCCEEDED else JobError(code, message, retryable=True, step=None, occurred_at=0)
    recording.record_outcome(tx, job, Outcome(status, error=error), steps=job.steps)


def fail(writer: Writer, message: str, code: str = "E", handler: str = "conformance.job") -> None:
    writer.run_sync(lambda tx: end(tx, started(tx, handler=handler), S.FAILED, message, code))


def add_up(writer: Writer, limit: int = 100) -> None:
    while writer.run_sync(lambda tx: history_rows.add_up(tx, limit)):
        pass


def mix(writer: Writer, handler: str) -> None:
    """Let jobs end in every way."""

    def expire(tx: Tx) -> None:
        job = accept(tx, handler, expires=HOUR_US)
        tx.flush()
        tx.execute(_set_expired, id_=job.id)
        expiry.expire_due(tx, 5)

    def cancel(tx: Tx, job: Job) -> None:
        commands.cancel(tx, job.id, reason=None, visible=ALL)

    def twice(tx: Tx) -> None:
        job = started(tx, handler=handler)
        end(tx, job, S.FAILED)
        commands.retry(tx, job.id, from_start=True, visible=ALL, route=route)
        again = claims.claim(tx, job.id, runner="one", worker="w", backend="here", isolated=False)
        assert again is not None
        end(tx, again, S.SUCCEEDED)

    def stopped(tx: Tx) -> None:
        job = started(tx, handler=handler)
        cancel(tx, job)
        end(tx, job, S.QUEUED)

    ends: list[Callable[[Tx], object]] = [
        lambda tx: end(tx, started(tx, handler=handler), S.SUCCEEDED),
        lambda tx: end(tx, started(tx, handler=handler), S.FAILED),
        lambda tx: end(tx, started(tx, handler=handler), S.RETRYING),
        lambda tx: cancel(tx, accept(tx, handler)),
        lambda tx: cancel(tx, accept(tx, handler, run_at=LATE)),
        stopped,
        expire,
        twice,
        lambda tx: end(tx, started(tx, handler=handler), S.QUEUED),
        lambda tx: accept(tx, handler, run_at=LATE),
        lambda tx: started(tx, handler=handler),
    ]
    for function in ends:
        writer.run_sync(function)


MIXED = {"enqueued": 11, "started": 8, "succeeded": 2, "failed": 2, "cancelled": 4, "retried": 1}


def test_the_figures_are_those_of_the_rows(writer: Writer) -> None:
    """Jobs that end in every way are counted before and after their figures are added up."""
    mix(writer, "conformance.job")
    mix(writer, "conformance.other")
    for _ in range(2):
        found = writer.run_sync(lambda tx: stats.stats(tx, around(tx)))
        assert [(each.handler, each.counts) for each in found] == [
            ("conformance.job", MIXED),
            ("conformance.other", MIXED),
        ]
        assert one(writer, handler=["*.other"]) == MIXED
        rows = writer.run_sync(lambda tx: tx.all(_recount))
        assert sum(n for handler, _, n, _ in rows if handler == "conformance.job") == MIXED["enqueued"]
        assert sum(attempts for handler, *_, attempts in rows if handler == "conformance.job") == MIXED["started"]
        by_status = Counter({status: n for handler, status, n, _ in rows if handler == "conformance.job"})
        assert by_status[S.CANCELLED] == MIXED["cancelled"]
        assert by_status[S.FAILED] + 1 == MIXED["failed"]  # one has succeeded since
        assert sum(found[0].sums.waits.values()) == MIXED["started"]
        assert sum(found[0].sums.runs.values()) == 6  # not of the one that runs, nor of the one that was handed back
        add_up(writer)
        assert writer.run_sync(lambda tx: tx.scalar(_kept)) == 0


def test_waits_and_runs_are_measured(writer: Writer) -> None:
    """From due to start, and from start to end."""
    writer.run_sync(lambda tx: accept(tx, run_at=tx.now - 1_000_000, created_at=tx.now - 2_000_000))
    (job,) = writer.run_sync(lambda tx: claims.claim_due(tx, runner="one", worker="w", backend="here", limit=1))
    writer.run_sync(lambda tx: end(tx, job, S.SUCCEEDED))
    (found,) = writer.run_sync(lambda tx: stats.stats(tx, around(tx)))
    done = writer.run_sync(lambda tx: ledger.get(tx, job.id))
    assert done is not None
    assert done.finished_at is not None
    assert found.sums.waits == {sketch.bucket(job.attempts[-1].started_at - job.due_at): 1}
    assert found.sums.runs == {sketch.bucket(done.finished_at - job.attempts[-1].started_at): 1}


def test_together_is_the_sum_of_all_handlers(writer: Writer) -> None:
    """Counts, and waits and runs, of which percentiles could not be added."""
    for name in ("a.one", "b.two"):
        mix(writer, name)
    for step in StatsStep:
        each, whole = (
            writer.run_sync(lambda tx, both=both, step=step: stats.stats(tx, around(tx), step=step, together=both))  # type: ignore[misc]
            for both in (False, True)
        )
        assert {one.handler for one in each} == {"a.one", "b.two"}
        assert {one.handler for one in whole} == {stats.ALL}
        assert len({one.span for one in whole}) == len(whole)
        for part in ("counts", "waits", "runs"):
            assert added(getattr(one.sums, part) for one in each) == added(getattr(one.sums, part) for one in whole)


def added(parts: Iterable[Any]) -> Counter[Any]:
    return sum((Counter(dict(enumerate(one)) if isinstance(one, list) else one) for one in parts), Counter())


def test_minutes_hours_and_days_say_the_same(writer: Writer) -> None:
    """Each length is a sum of the same figures, and a total is made of all three."""
    at = writer.run_sync(lambda tx: tx.now) // DAY_US * DAY_US - 3 * DAY_US
    moments = [at + 5 * MINUTE_US, at + 59 * MINUTE_US, at + 60 * MINUTE_US, at + DAY_US - 1, at + DAY_US, at + DAY_US]
    for moment in moments:
        writer.run_sync(lambda tx: end(tx, started(tx), S.SUCCEEDED))
        writer.run_sync(lambda tx, moment=moment: tx.execute(_set_at, new_at=moment))  # type: ignore[misc]
        add_up(writer)
    rows = writer.run_sync(lambda tx: tx.all(_rows))
    per_step = {1: 5, 60: 4, 1440: 2}
    assert Counter(row[0] for row in rows) == per_step
    for step in per_step:
        assert [sum(row[3 + n] for row in rows if row[0] == step) for n in range(6)] == [6, 6, 6, 0, 0, 0]
    for begin, finish, expected in (
        (at, at + 2 * DAY_US, 6),
        (at, at + HOUR_US, 2),
        (at + HOUR_US, at + DAY_US, 2),
        (at + DAY_US, at + DAY_US + HOUR_US, 2),
        (at + 2 * DAY_US, at + 3 * DAY_US, 0),
    ):
        found = look(writer, begin, finish)
        assert [one.sums.counts[0] for one in found] == ([expected] if expected else [])
    hours = look(writer, at, at + 2 * DAY_US, step=StatsStep.HOUR)
    assert [(one.span.begin - at) // HOUR_US for one in hours] == [0, 1, 23, 24]
    days = look(writer, at + HOUR_US, at + DAY_US + 1, step=StatsStep.DAY)
    assert [(one.span, one.sums.counts[0]) for one in days] == [
        (Span(at, at + DAY_US), 4),
        (Span(at + DAY_US, at + 2 * DAY_US), 2),
    ]


def test_a_total_of_today_is_exact_to_the_minute(writer: Writer) -> None:
    """Minutes at both ends, hours between them; what is not added up yet counts as well."""
    now = writer.run_sync(lambda tx: tx.now)
    begin = now // MINUTE_US * MINUTE_US - 200 * MINUTE_US

    def write(tx: Tx) -> None:
        for minutes in range(200):
            tx.insert(FIGURES, {"at": begin + minutes * MINUTE_US, "data": '[["conformance.job", 0, 1]]'})

    writer.run_sync(write)
    for added_up in (False, True):
        for first, last in ((0, 200), (1, 199), (59, 61), (17, 18), (30, 150)):
            span = Span(begin + first * MINUTE_US, begin + last * MINUTE_US)
            (found,) = look(writer, span.begin, span.end)
            assert (found.span, found.sums.counts[0]) == (span, last - first), (added_up, first, last)
        add_up(writer, 64)


async def test_figures_of_a_function_that_raises_are_rolled_back_with_it(writer: Writer) -> None:
    """Alone, and in one commit with others, which are kept."""

    def raising(tx: Tx) -> None:
        end(tx, started(tx), S.FAILED)
        raise ValueError

    assert [type(each) for each in await together(writer, raising)] == [ValueError]
    assert writer.run_sync(lambda tx: stats.stats(tx, around(tx))) == []
    found = await together(writer, accept, raising, accept)
    assert [type(each) for each in found] == [Job, ValueError, Job]
    assert one(writer)["enqueued"] == 2
    assert writer.run_sync(lambda tx: stats.failed(tx, around(tx))) == []


def test_two_processes_add_up_each_figure_once(ledger_url: str) -> None:
    """Both lead for a moment, and take the same figures."""
    with writing(ledger_url) as first, writing(ledger_url) as second, ThreadPoolExecutor() as pool:
        for _ in range(60):
            first.run_sync(accept)
        list(pool.map(lambda writer: add_up(writer, 7), (first, second, first, second)))
        assert one(first)["enqueued"] == 60


def test_failures_are_grouped_by_their_error(writer: Writer) -> None:
    """In one line, cut, with the first and the last time; the most frequent first."""
    fail(writer, "no answer\nfrom  the printer")
    fail(writer, "no answer from the printer")
    add_up(writer)
    pass_a_moment()
    fail(writer, "no answer from the printer")
    pass_a_moment()
    fail(writer, "x" * 300, code="LONG\0CODE", handler="conformance.other")
    for _ in range(2):
        many, few = writer.run_sync(lambda tx: stats.failed(tx, around(tx)))
        assert (many.handler, many.code, many.message) == ("conformance.job", "E", "no answer from the printer")
        assert many.group.n == 3
        assert (few.code, few.message, few.group.n) == ("LONG CODE", "x" * MESSAGE_CHARACTERS, 1)
        assert many.group.first_at < many.group.last_at < few.group.first_at
        assert writer.run_sync(lambda tx: stats.failed(tx, around(tx), handler=["*.other"])) == [few]
        add_up(writer)


def test_failures_are_counted_in_parts_of_the_time(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are of whole hours, and errors that are not added up yet are in the right one."""
    now = writer.run_sync(lambda tx: tx.now)
    begin = now - now % HOUR_US - 9 * HOUR_US
    for hours in (0, 1, 4, 4, 9):
        add_up(writer)
        fail(writer, "no answer")
        at = begin + hours * HOUR_US + 7
        writer.run_sync(lambda tx, at=at: tx.execute(_set_at, new_at=at))  # type: ignore[misc]
    for _ in range(2):
        for parts, expected in ((1, (5,)), (2, (4, 1)), (4, (2, 2, 0, 1)), (50, (1, 1, 0, 0, 2, 0, 0, 0, 0, 1))):
            span = Span(begin + 1, begin + 10 * HOUR_US)
            (found,) = writer.run_sync(lambda tx, parts=parts, span=span: stats.failed(tx, span, parts=parts))  # type: ignore[misc]
            assert (found.trend, found.group.n) == (expected, 5)
            assert (found.group.first_at, found.group.last_at) == (begin + 7, begin + 9 * HOUR_US + 7)
        add_up(writer)
    monkeypatch.setattr(stats, "ROWS", 1)  # the one error, in however many parts
    whole = Span(begin + 1, begin + 10 * HOUR_US)
    (found,) = writer.run_sync(lambda tx: stats.failed(tx, whole, parts=50))
    assert found.trend == (1, 1, 0, 0, 2, 0, 0, 0, 0, 1)


def test_the_groups_of_an_hour_are_bounded(writer: Writer) -> None:
    """Further errors are one group, and none is lost; a known one is still counted."""
    for number in range(history_rows.GROUPS + 5):
        fail(writer, f"order {number}")
    fail(writer, "order 3")
    add_up(writer, 20)
    found = writer.run_sync(lambda tx: stats.failed(tx, around(tx)))
    by_message = {each.message: each.group.n for each in found}
    assert len(found) <= 2 * (history_rows.GROUPS + 1)  # an hour may have ended meanwhile
    assert sum(by_message.values()) == history_rows.GROUPS + 6 == one(writer)["failed"]
    assert by_message["order 3"] == 2


async def test_maintenance_adds_up_and_deletes_in_time(writer: Writer) -> None:
    """Each length has its own time, errors are deleted with the jobs, and what is younger stays."""
    now = writer.run_sync(lambda tx: tx.now)
    ages = [HOUR_US, 2 * DAY_US, 40 * DAY_US, 500 * DAY_US]
    for age in ages:
        fail(writer, f"{age}")
        writer.run_sync(lambda tx, age=age: tx.execute(_set_at, new_at=now - age))  # type: ignore[misc]
        add_up(writer)
    fail(writer, "now")
    writer.run_sync(lambda tx: tx.execute(_set_at, new_at=now))
    service = History(writer, timedelta(days=1), Timings(clean_interval_s=0.0))
    await service.run_once()
    rows = writer.run_sync(lambda tx: tx.all(_rows))
    for step, length in LENGTH_US.items():
        kept = {now - age for age in (0, *ages) if age < KEPT_US[step]}
        assert [row[1] for row in rows if row[0] == length // MINUTE_US] == sorted({at - at % length for at in kept})
    assert {row[3] for row in writer.run_sync(lambda tx: tx.all(_groups))} == {"now", f"{HOUR_US}"}
    assert writer.run_sync(lambda tx: tx.scalar(_kept)) == 0


def test_a_time_that_the_history_has_not_is_refused(writer: Writer) -> None:
    now = writer.run_sync(lambda tx: tx.now)
    for begin, finish, step, says in (
        (now, now, StatsStep.TOTAL, "must be later"),
        (now - 2 * DAY_US, now, StatsStep.MINUTE, "kept for 24 hours: .* longer step"),
        (now - 36 * DAY_US, now, StatsStep.HOUR, "kept for 35 days"),
        (now - 401 * DAY_US, now, StatsStep.DAY, "kept for 400 days"),
        (now - 401 * DAY_US, now, StatsStep.TOTAL, "kept for 400 days"),
    ):
        with pytest.raises(WrongRange, match=says):
            look(writer, begin, finish, step=step)
    with pytest.raises(WrongRange, match="35 days"):
        writer.run_sync(lambda tx: stats.failed(tx, Span(now - 36 * DAY_US, now)))
    for step, length in LENGTH_US.items():
        assert look(writer, now - length, now, step=step) == []


def test_an_answer_is_made_of_a_bounded_number_of_rows(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many rows are the caller's to change; too many figures end by themselves."""
    monkeypatch.setattr(stats, "ROWS", 2)
    for handler in ("a.one", "a.two", "b.three"):
        writer.run_sync(lambda tx, handler=handler: accept(tx, handler))  # type: ignore[misc]
    with pytest.raises(stats.Behind):
        writer.run_sync(lambda tx: stats.stats(tx, around(tx)))
    add_up(writer)
    with pytest.raises(TooMuch, match="name handlers"):
        writer.run_sync(lambda tx: stats.stats(tx, around(tx), step=StatsStep.HOUR))
    assert len(writer.run_sync(lambda tx: stats.stats(tx, around(tx), handler=["a.*"], step=StatsStep.HOUR))) == 2
    for number in range(3):
        fail(writer, f"{number}")
    add_up(writer)
    with pytest.raises(TooMuch, match="name handlers"):
        writer.run_sync(lambda tx: stats.failed(tx, around(tx)))
    monkeypatch.setattr(stats, "ROWS", 3)
    monkeypatch.setattr(stats, "SCANNED", 2)
    with pytest.raises(TooMuch, match="name handlers"):
        writer.run_sync(lambda tx: stats.failed(tx, around(tx)))
    monkeypatch.setattr(stats, "SCANNED", 3)
    monkeypatch.setattr(stats, "GROUPS", 2)
    fail(writer, "2")
    assert [each.message for each in writer.run_sync(lambda tx: stats.failed(tx, around(tx)))] == ["2", "0"]


def test_the_jobs_of_a_dead_process_are_started_anew(writer: Writer) -> None:
    """A crash ends no job: it is started a second time, and fails as poison in the end."""
    writer.run_sync(started)
    writer.run_sync(lambda tx: recovery.release_orphan(tx, runner="one"))
    writer.run_sync(lambda tx: claims.claim_due(tx, runner="two", worker="w", backend="here", limit=1))
    assert one(writer) == dict.fromkeys(history_rows.COUNTS, 0) | {"enqueued": 1, "started": 2}
