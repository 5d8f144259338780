"""Limits: no more jobs run at once, or start in a period, than the limit; blocked jobs are unblocked in order."""

from __future__ import annotations

import asyncio
import threading

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from onward.jobs import blocked, concurrency, due, recording, recovery
from onward.jobs.limits import CLOCK_TOLERANCE_US, Limit, Rate
from onward.jobs.model import Job
from onward.jobs.outcome import Outcome
from onward.jobs.row import Claim
from onward.jobs.states import JobStatus
from onward.storage.lock_order import LAST
from onward.storage.tables import gates as limits
from onward.storage.tables import jobs
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.testing.waiting import until
from tests.integration.jobs.test_concurrency import claim, claim_limited, now, undelivered
from tests.ledgers import accept, writing

LIMITED = "conformance.limited"
SECOND_US = 1_000_000
TIMEOUT_S = 30.0
rates = st.builds(Rate, st.integers(1, 300), st.sampled_from([SECOND_US, 60 * SECOND_US]))


def limited(writer: Writer, n: int = 0, **limit: object) -> list[Job]:
    """Queue that many jobs of a handler with a limit."""
    writer.run_sync(lambda tx: concurrency.configure(tx, {LIMITED: Limit(**limit)}))  # type: ignore[arg-type]
    return [writer.run_sync(lambda tx: accept(tx, LIMITED)) for _ in range(n)]


def ended(tx: Tx, job: Job) -> list[Job]:
    recording.record_outcome(tx, job, Outcome(JobStatus.SUCCEEDED), steps=job.steps)
    return blocked.unblock(tx, LIMITED, limit=100)


def test_the_concurrency_limit_holds_for_every_claim(writer: Writer) -> None:
    """The other jobs are blocked, and each end unblocks the one that has waited longest."""
    waiting = limited(writer, 5, concurrency=2)
    first = writer.run_sync(lambda tx: claim(tx, waiting[0].id))
    assert first is not None
    (second,), changed = writer.run_sync(claim_limited)
    assert changed
    assert second.id == waiting[1].id
    assert writer.run_sync(lambda tx: claim(tx, waiting[4].id)) is None
    assert writer.run_sync(blocked.count) == {concurrency.CONCURRENCY: 3}
    assert writer.run_sync(blocked.admissible_handlers) == ([], None)
    (out,) = writer.run_sync(lambda tx: ended(tx, first))
    assert out.id == waiting[2].id
    assert writer.run_sync(undelivered) == [out.id]
    assert writer.run_sync(blocked.admissible_handlers) == ([], None), "the slot is reserved"


def test_a_reserved_slot_is_given_to_no_other_job(writer: Writer) -> None:
    """The slot becomes free when that job is cancelled."""
    waiting = limited(writer, 2, concurrency=1)
    (first,), _ = writer.run_sync(claim_limited)
    (out,) = writer.run_sync(lambda tx: ended(tx, first))
    late = writer.run_sync(lambda tx: accept(tx, LIMITED, priority=-9))
    assert writer.run_sync(lambda tx: claim(tx, late.id)) is None
    assert now(writer, late).blocked == concurrency.CONCURRENCY
    cancelled = sa.update(jobs).where(jobs.c.id == out.id).values(status="CANCELLED")
    writer.run_sync(lambda tx: tx.execute(cancelled))
    assert writer.run_sync(blocked.admissible_handlers) == ([LIMITED], None)
    (out,) = writer.run_sync(lambda tx: blocked.unblock(tx, LIMITED, limit=100))
    assert out.id == late.id
    assert writer.run_sync(lambda tx: claim(tx, late.id)) is not None
    assert waiting


def test_a_reservation_outlives_a_postponed_delivery(writer: Writer) -> None:
    """A draining process postpones a delivery, for example, and the slot stays reserved."""
    limited(writer, 2, concurrency=1)
    (first,), _ = writer.run_sync(claim_limited)
    (out,) = writer.run_sync(lambda tx: ended(tx, first))
    writer.run_sync(lambda tx: due.give_back(tx, out.id))
    late = writer.run_sync(lambda tx: accept(tx, LIMITED, priority=-9))
    assert writer.run_sync(lambda tx: claim(tx, late.id)) is None
    assert writer.run_sync(lambda tx: claim(tx, out.id)) is not None


def test_a_later_job_passes_blocked_ones_only_if_it_is_more_urgent(writer: Writer) -> None:
    limited(writer, 3, concurrency=2)
    (first, _), _ = writer.run_sync(claim_limited)
    writer.run_sync(lambda tx: recording.record_outcome(tx, first, Outcome(JobStatus.SUCCEEDED), steps=first.steps))
    late, urgent = (writer.run_sync(lambda tx, p=p: accept(tx, LIMITED, priority=p)) for p in (0, -1))  # type: ignore[misc]
    assert writer.run_sync(lambda tx: claim(tx, late.id)) is None
    assert writer.run_sync(lambda tx: claim(tx, urgent.id)) is not None


def test_the_slots_of_a_dead_process_are_free(writer: Writer) -> None:
    """One of its jobs is admitted as soon as they are queued again."""
    limited(writer, 3, concurrency=1)
    (held,), _ = writer.run_sync(claim_limited)
    writer.run_sync(lambda tx: recovery.release(tx, {Claim(held.id, held.fencing_token)}, runner="one"))
    assert writer.run_sync(blocked.admissible_handlers) == ([LIMITED], None)
    assert len(writer.run_sync(lambda tx: blocked.unblock(tx, LIMITED, limit=100))) == 1


def test_removing_a_limit_unblocks_all_jobs(writer: Writer) -> None:
    """A new limit applies to queued jobs; a handler that is not named keeps its limit."""
    limited(writer, 5, concurrency=1)
    writer.run_sync(claim_limited)
    writer.run_sync(lambda tx: concurrency.configure(tx, {"conformance.other": Limit()}))
    assert writer.run_sync(blocked.admissible_handlers) == ([], None)
    writer.run_sync(lambda tx: concurrency.configure(tx, {LIMITED: Limit()}))
    assert writer.run_sync(concurrency.all_limits) == {}
    assert writer.run_sync(blocked.admissible_handlers) == ([LIMITED], None)
    assert len(writer.run_sync(lambda tx: blocked.unblock(tx, LIMITED, limit=100))) == 4


def test_a_pause_outlives_a_limit_and_a_limit_a_pause(writer: Writer) -> None:
    limited(writer, 2, concurrency=1)
    writer.run_sync(lambda tx: concurrency.pause(tx, LIMITED, by=None))
    assert writer.run_sync(claim_limited) == ([], True)
    writer.run_sync(lambda tx: concurrency.resume(tx, LIMITED))
    assert len(writer.run_sync(lambda tx: blocked.unblock(tx, LIMITED, limit=100))) == 1
    writer.run_sync(lambda tx: concurrency.pause(tx, LIMITED, by=None))
    writer.run_sync(lambda tx: concurrency.configure(tx, {LIMITED: Limit()}))
    assert [pause.handler for pause in writer.run_sync(concurrency.pauses)] == [LIMITED]


def test_many_processes_together_keep_the_limit(ledger_url: str) -> None:
    """Each claims by id and from the queue, in commits of its own."""
    most, ran = 0, 0
    with writing(ledger_url) as one, writing(ledger_url) as two:
        waiting = limited(one, 40, concurrency=3)

        def work(writer: Writer, runner: str) -> None:
            nonlocal most, ran
            count = sa.select(sa.func.count()).where(jobs.c.status == "RUNNING")
            for job in waiting:
                by_id = writer.run_sync(lambda tx, job=job: claim(tx, job.id))  # type: ignore[misc]
                claimed, _ = writer.run_sync(lambda tx: claim_limited(tx, 2, runner))
                most = max(most, writer.run_sync(lambda tx: tx.one(count))[0])  # type: ignore[index]
                for done in (*([by_id] if by_id else []), *claimed):
                    ran += 1
                    writer.run_sync(lambda tx, done=done: ended(tx, done))  # type: ignore[misc]

        threads = [threading.Thread(target=work, args=pair) for pair in ((one, "one"), (two, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1 <= most <= 3
        assert ran >= 20, "and they do get on"


def test_two_processes_that_want_one_job_use_up_one_start_of_its_rate(postgres_ledger: str) -> None:
    """The second one looks while the first has claimed the job and not committed yet."""
    rate = Rate(20, 60 * SECOND_US)
    claimed, go_on = threading.Event(), threading.Event()
    waits = sa.text("SELECT 1 FROM pg_locks WHERE NOT granted")
    with writing(postgres_ledger) as one, writing(postgres_ledger) as two:
        limited(one, 1, rate=rate)

        def hold(tx: Tx) -> None:
            assert len(claim_limited(tx)[0]) == 1
            claimed.set()
            go_on.wait(TIMEOUT_S)

        first = threading.Thread(target=one.run_sync, args=(hold, LAST))
        second = threading.Thread(target=two.run_sync, args=(lambda tx: claim_limited(tx, runner="two"), LAST))
        first.start()
        assert claimed.wait(TIMEOUT_S)
        second.start()
        asyncio.run(until(lambda: not second.is_alive() or bool(one.database.read_sync(lambda tx: tx.one(waits)))))
        go_on.set()
        for thread in (first, second):
            thread.join(TIMEOUT_S)
        found, now = one.run_sync(lambda tx: (concurrency.all_limits(tx)[LIMITED], tx.now))
    assert rate.free(found.theoretical_arrival, now) == rate.burst - 1


def test_a_rate_blocks_early_jobs_and_says_when_the_next_may_start(writer: Writer) -> None:
    waiting = limited(writer, 3, rate=Rate(5, 60 * SECOND_US))
    (first,), _ = writer.run_sync(claim_limited)
    assert first.id == waiting[0].id
    assert writer.run_sync(blocked.count) == {concurrency.RATE: 2}
    handlers, wait_us = writer.run_sync(blocked.admissible_handlers)
    assert handlers == []
    assert wait_us is not None
    assert 0 < wait_us <= 12 * SECOND_US
    writer.run_sync(lambda tx: tx.execute(sa.update(limits).values(even_at=limits.c.even_at - 12 * SECOND_US)))
    assert writer.run_sync(blocked.admissible_handlers) == ([LIMITED], 12 * SECOND_US)
    (out,) = writer.run_sync(lambda tx: blocked.unblock(tx, LIMITED, limit=100))
    handlers, wait_us = writer.run_sync(blocked.admissible_handlers)
    assert (handlers, bool(wait_us)) == ([], True), "also while the start is reserved"
    assert out.id == waiting[1].id
    assert writer.run_sync(lambda tx: claim(tx, out.id)) is not None


@given(rates, st.lists(st.tuples(st.integers(0, 30 * SECOND_US), st.integers(0, 400)), max_size=80))
def test_no_period_sees_more_starts_than_the_rate(rate: Rate, requests: list[tuple[int, int]]) -> None:
    """The period may start at any time, and jobs may come at any time."""
    at, arrival = 10**15, None
    starts: list[int] = []
    for pause_us, wanted in requests:
        at += pause_us
        n = min(rate.free(arrival, at), wanted)
        if n > 0:
            arrival = rate.after(arrival, at, n)
            starts += [at] * n
    for first, last in zip(starts, starts[rate.starts :], strict=False):
        assert last - first >= rate.period_us


@given(rates)
def test_a_constant_load_reaches_nine_tenths_of_the_rate(rate: Rate) -> None:
    at, arrival, n = 10**15, None, 0
    until = at + 10 * rate.period_us
    while at < until:
        assert rate.free(arrival, at) >= 1
        arrival = rate.after(arrival, at, 1)
        n += 1
        at += rate.wait_us(arrival, at)
    assert n >= 9 * rate.starts


@given(rates, st.integers(0, 10**15))
def test_a_clock_that_was_set_back_delays_jobs_only_briefly(rate: Rate, back_us: int) -> None:
    arrival = rate.after(None, 10**15, rate.burst)
    assert rate.wait_us(arrival, 10**15 - back_us) <= rate.interval_us
    assert any(
        rate.free(arrival, 10**15 - back_us + later_us) for later_us in (0, CLOCK_TOLERANCE_US + rate.interval_us)
    )


def test_a_faster_rate_applies_at_once_to_blocked_jobs(writer: Writer) -> None:
    """The slower rate may have been used up far ahead."""
    limited(writer, 3, rate=Rate(1, 86_400 * SECOND_US))
    writer.run_sync(claim_limited)
    assert writer.run_sync(blocked.admissible_handlers)[0] == []
    limited(writer, rate=Rate(600, SECOND_US))
    found, now = writer.run_sync(lambda tx: (concurrency.all_limits(tx)[LIMITED], tx.now))
    assert found.theoretical_arrival is not None
    assert found.theoretical_arrival - now <= SECOND_US // 5


def test_a_rate_is_shown_as_it_was_written() -> None:
    assert [str(Rate.parsed(text)) for text in ("1/s", "100/m", "7/h", "9/d")] == ["1/s", "100/m", "7/h", "9/d"]
