"""Limits by key: no more jobs of a key run at once, or start in a period, than its limit; places are passed on."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from onward.handlers.base import Wait
from onward.jobs import (
    blocked,
    claims,
    commands,
    concurrency,
    due,
    expiry,
    key_limits,
    ledger,
    overruns,
    recording,
    recovery,
    waits,
)
from onward.jobs.base import Conflict
from onward.jobs.concurrency import KEY
from onward.jobs.key_limits import Rule
from onward.jobs.limits import Limit, Rate
from onward.jobs.model import Job, Visible
from onward.jobs.outcome import HANDED_BACK, Outcome
from onward.jobs.states import JobStatus
from onward.storage import callers
from onward.storage.engine import Database
from onward.storage.identity import ledger_id
from onward.storage.lock_order import LAST
from onward.storage.lock_order import job as of_job
from onward.storage.tables import jobs, runners
from onward.storage.tables import key_limits as rows
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.integration.jobs.test_concurrency import claim, claim_due, now
from tests.ledgers import OLDER, accept, route, writing

S = JobStatus
HANDLER, OTHER = "conformance.keyed", "conformance.other"
ALL = Visible(everything=True)
MINUTE_US = 60_000_000
_enter = sa.insert(runners)


def limited(writer: Writer, *, name: str = HANDLER, handler: str = HANDLER, **limit: Any) -> None:
    writer.run_sync(lambda tx: key_limits.configure(tx, {handler: Rule(name, Limit(**limit)) if limit else None}))


def queue(writer: Writer, n: int = 1, value: str = "ann", *, name: str = HANDLER, **values: Any) -> list[Job]:
    """Accept that many jobs of a key."""
    handler = values.pop("handler", HANDLER)
    return [writer.run_sync(lambda tx: accept(tx, handler, limit_key=f"{name}:{value}", **values)) for _ in range(n)]


def end(writer: Writer, job: Job, status: JobStatus = S.SUCCEEDED, **values: Any) -> None:
    outcome = HANDED_BACK if status is S.QUEUED else Outcome(status, **values)
    writer.run_sync(lambda tx: recording.record_outcome(tx, job, outcome, steps=job.steps), of_job(job.id))


def begin(writer: Writer, job: Job) -> Job:
    found = writer.run_sync(lambda tx: claim(tx, job.id))
    assert found is not None
    return found


def in_line(writer: Writer) -> list[str]:
    """Return the jobs that may be claimed, in order."""
    statement = sa.select(jobs.c.id).where(jobs.c.status == "QUEUED", jobs.c.parked.is_(None)).order_by(jobs.c.id)
    return writer.run_sync(lambda tx: tx.scalars(statement))


def look(writer: Writer) -> None:
    """Do what maintenance does, until nothing is due."""
    after: Any = {}
    while (found := writer.run_sync(partial(key_limits.look, limit=3, after=after))).n:
        after = found.after


@contextmanager
def starting(writer: Writer) -> Iterator[list[Job]]:
    """A list that gets the jobs that are let start."""
    found: list[Job] = []
    writer.on_end = found.extend
    yield found


def test_one_job_of_a_key_starts_and_the_others_wait_outside_of_the_line(writer: Writer) -> None:
    """The accepted jobs say so themselves; jobs of another key and without one are not touched."""
    limited(writer, concurrency=1)
    first, *others = queue(writer, 3)
    (ben,) = queue(writer, 1, "ben")
    free = writer.run_sync(accept)
    assert [job.blocked for job in (first, *others, ben, free)] == [None, KEY, KEY, None, None]
    assert (first.version, first.limit_key) == (1, f"{HANDLER}:ann")
    assert now(writer, first) == first
    assert [now(writer, job) for job in others] == others
    assert in_line(writer) == sorted([first.id, ben.id, free.id])
    assert {job.id for job in writer.run_sync(claim_due)} == {first.id, ben.id, free.id}
    assert writer.run_sync(lambda tx: claim(tx, others[0].id)) is None
    assert writer.run_sync(blocked.count) == {KEY: 2}


def test_several_jobs_of_one_commit_share_the_places(writer: Writer) -> None:
    limited(writer, concurrency=2)
    accepted = writer.run_sync(lambda tx: [accept(tx, HANDLER, limit_key=f"{HANDLER}:ann") for _ in range(5)])
    assert [job.blocked for job in accepted] == [None, None, KEY, KEY, KEY]


def test_an_end_lets_the_most_urgent_job_start_and_then_the_oldest(writer: Writer) -> None:
    limited(writer, concurrency=1)
    first, second, third = queue(writer, 3)
    (urgent,) = queue(writer, 1, priority=-5)
    running = begin(writer, first)
    for expected in (urgent, second, third):
        with starting(writer) as found:
            end(writer, running)
        assert [job.id for job in found] == [expected.id]
        assert (found[0].blocked, found[0].status) == (None, S.QUEUED)
        assert found[0] == now(writer, expected)
        assert in_line(writer) == [expected.id]
        running = begin(writer, expected)


@pytest.mark.parametrize("expires", [None, 3600 * 1_000_000])
def test_keys_take_turns_where_slots_are_few(writer: Writer, expires: int | None) -> None:
    """A job that gets a place stands behind those that are in line, though it was accepted long before."""
    limited(writer, concurrency=1)
    accepted = queue(writer, 5, "ann", expires=expires)
    queue(writer, 2, "ben")
    order = []
    for _ in range(5):
        (job,) = writer.run_sync(lambda tx: claim_due(tx, 1))
        order.append(key_limits.value_of(job.limit_key or ""))
        end(writer, job)
    assert order == ["ann", "ben", "ann", "ben", "ann"]
    assert [now(writer, job).expires_at for job in accepted] == [job.expires_at for job in accepted]


def test_a_job_that_waits_for_its_turn_expires_at_its_time_whatever_waits_beside_it(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By two statements, however long the backlog of its key is, and its claim was refused before."""
    limited(writer, concurrency=1)
    running = begin(writer, *queue(writer))
    queue(writer, 50, expires=MINUTE_US)
    (soon,) = queue(writer, expires=1)
    queue(writer, 50, expires=MINUTE_US)
    statements: list[Any] = []
    run = Tx._run

    def expire(tx: Tx) -> list[Job]:
        def noted(tx: Tx, statement: Any, params: dict[str, Any]) -> Any:
            statements.append(statement)
            return run(tx, statement, params)

        assert tx.now  # asks for the time, on some databases
        with monkeypatch.context() as patch:
            patch.setattr(Tx, "_run", noted)
            return expiry.expire_due(tx, 500)

    assert [job.id for job in writer.run_sync(expire)] == [soon.id]
    assert len(statements) == 2
    cancelled = now(writer, soon)
    assert cancelled.error is not None
    assert (cancelled.status, cancelled.error.code) == (S.CANCELLED, "EXPIRED")
    end(writer, running)
    assert len(in_line(writer)) == 1


def test_a_job_that_expires_by_its_due_time_keeps_it(writer: Writer) -> None:
    """A process of the release before has accepted it, and counts from there."""
    limited(writer, concurrency=1)
    running = begin(writer, *queue(writer))
    (waiting,) = queue(writer, expires=MINUTE_US)
    former = sa.update(jobs).where(jobs.c.id == waiting.id).values(expires_in=None)
    writer.run_sync(lambda tx: tx.execute(former))
    end(writer, running)
    assert (now(writer, waiting).blocked, now(writer, waiting).due_at) == (None, waiting.due_at)


@pytest.mark.parametrize("status", [S.SUCCEEDED, S.FAILED, S.RETRYING, S.QUEUED])
def test_every_end_of_an_attempt_passes_the_place_on(writer: Writer, status: JobStatus) -> None:
    """A job that is handed back goes on first: it is the oldest."""
    limited(writer, concurrency=1)
    first, second = queue(writer, 2)
    end(writer, begin(writer, first), status)
    assert in_line(writer) == [first.id if status is S.QUEUED else second.id]


def test_a_delayed_job_and_a_retry_wait_for_a_place_when_they_are_due(writer: Writer) -> None:
    limited(writer, concurrency=1)
    later = queue(writer, 1, run_at=2**60)
    (first, second) = queue(writer, 2)
    assert later[0].status is S.SCHEDULED
    end(writer, begin(writer, first), S.RETRYING, delay_us=0)
    writer.run_sync(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == later[0].id).values(due_at=1)))
    promoted = writer.run_sync(lambda tx: due.promote_due(tx, 10, route=route))
    assert {job.blocked for job in promoted} == {KEY}
    assert [now(writer, job) for job in promoted] == promoted
    end(writer, begin(writer, second))
    assert in_line(writer) == [later[0].id], "it was accepted first"


def test_a_due_job_of_a_free_key_starts(writer: Writer) -> None:
    limited(writer, concurrency=1)
    (later,) = queue(writer, 1, run_at=2**60)
    writer.run_sync(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == later.id).values(due_at=1)))
    (promoted,) = writer.run_sync(lambda tx: due.promote_due(tx, 10, route=route))
    assert promoted.blocked is None
    assert promoted == now(writer, later)
    begin(writer, later)


def test_a_job_that_waits_between_two_steps_has_no_place(writer: Writer) -> None:
    """The job needs one again when its wait is over, or has to wait for it."""
    limited(writer, concurrency=1)
    (first,) = queue(writer, 1, steps=("a", "sleep", "b"))
    (second,) = queue(writer)
    end(writer, begin(writer, first), S.WAITING, wait=Wait("sleep", timedelta(seconds=1)))
    running = begin(writer, second)
    over = sa.update(jobs).where(jobs.c.id == first.id).values(due_at=1)
    writer.run_sync(lambda tx: tx.execute(over))
    enqueuer: Any = SimpleNamespace(route=route)
    (went_on,) = writer.run_sync(lambda tx: waits.end_due(tx, 10, enqueuer=enqueuer))
    assert (went_on.status, went_on.blocked) == (S.QUEUED, KEY)
    assert now(writer, first) == went_on
    end(writer, running)
    end(writer, begin(writer, first), S.WAITING, wait=Wait("sleep", timedelta(seconds=1)))
    writer.run_sync(lambda tx: tx.execute(over))
    (went_on,) = writer.run_sync(lambda tx: waits.end_due(tx, 10, enqueuer=enqueuer))
    assert went_on.blocked is None
    begin(writer, first)


def test_an_expired_job_passes_its_place_on(writer: Writer) -> None:
    limited(writer, concurrency=1)
    (first,) = queue(writer, 1, expires=1)
    (second,) = queue(writer)
    assert [job.id for job in writer.run_sync(lambda tx: expiry.expire_due(tx, 10))] == [first.id]
    assert in_line(writer) == [second.id]


def test_a_cancel_frees_the_place_that_a_job_has_in_line(writer: Writer) -> None:
    limited(writer, concurrency=1)
    first, second, third = queue(writer, 3)
    for job in (second, first):
        writer.run_sync(lambda tx, job=job: commands.cancel(tx, job.id, reason=None, visible=ALL))  # type: ignore[misc]
    assert in_line(writer) == [third.id]
    again = writer.run_sync(lambda tx: commands.retry(tx, first.id, from_start=False, visible=ALL, route=route))
    assert (again.status, again.blocked) == (S.QUEUED, KEY)
    running = begin(writer, third)
    writer.run_sync(lambda tx: commands.cancel(tx, third.id, reason=None, visible=ALL))
    assert in_line(writer) == [], "it still runs"
    end(writer, running, S.FAILED)
    assert in_line(writer) == [first.id]
    again = writer.run_sync(lambda tx: commands.retry(tx, second.id, from_start=False, visible=ALL, route=route))
    assert again.blocked == KEY


def test_a_job_that_is_given_back_or_rerouted_keeps_its_place(writer: Writer) -> None:
    limited(writer, concurrency=1)
    first, second = queue(writer, 2)
    writer.run_sync(lambda tx: due.give_back(tx, first.id))
    for old, new in (("here", "there"), ("there", "here")):
        writer.run_sync(partial(due.reroute, limit=10, old=old, handler=HANDLER, new=new))
        assert in_line(writer) == [first.id]
    begin(writer, first)
    assert now(writer, second).blocked == KEY


def test_the_place_of_a_dead_process_s_job_is_free_in_the_same_commit(writer: Writer) -> None:
    """The job goes on first; a more urgent one would go before it."""
    limited(writer, concurrency=1)
    first, _ = queue(writer, 2)
    writer.run_sync(lambda tx: tx.execute(_enter, id="one", beat=1, place="", name="h", started_at=tx.now, **OLDER))
    begin(writer, first)
    (urgent,) = queue(writer, 1, priority=-1)
    with starting(writer) as found:
        writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="one", beat=1))
    assert [job.id for job in found] == [urgent.id]
    end(writer, begin(writer, urgent))
    assert in_line(writer) == [first.id]


def test_a_runner_that_was_taken_for_dead_resumes_no_job_whose_place_is_gone(writer: Writer) -> None:
    limited(writer, concurrency=1)
    first, _ = queue(writer, 2)
    claimed = begin(writer, first)
    (urgent,) = queue(writer, 1, priority=-1)
    writer.run_sync(lambda tx: recovery.release_orphan(tx, runner="one"))
    assert in_line(writer) == [urgent.id]
    assert writer.run_sync(lambda tx: recovery.resume(tx, claimed, runner="two", worker="w")) is None
    writer.run_sync(lambda tx: commands.cancel(tx, urgent.id, reason=None, visible=ALL))
    resumed = writer.run_sync(lambda tx: recovery.resume(tx, claimed, runner="two", worker="w"))
    assert resumed is not None
    assert resumed.status is S.RUNNING
    assert in_line(writer) == []


def test_a_function_that_goes_on_keeps_the_place_of_its_key(writer: Writer) -> None:
    limited(writer, concurrency=1)
    writer.run_sync(lambda tx: tx.execute(_enter, id="one", beat=1, place="", name="h", started_at=tx.now, **OLDER))
    first, second, third = queue(writer, 3)
    running = begin(writer, first)

    def late(tx: Tx) -> None:
        recording.record_outcome(tx, running, Outcome(S.FAILED), steps=running.steps)
        overruns.add(tx, running, runner="one")

    writer.run_sync(late)
    assert in_line(writer) == []
    writer.run_sync(lambda tx: overruns.end(tx, running))
    assert in_line(writer) == [second.id]
    running = begin(writer, second)
    writer.run_sync(late)
    writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="one", beat=1))
    assert in_line(writer) == [third.id]


def test_handlers_with_one_name_share_the_places_of_a_key(writer: Writer) -> None:
    limited(writer, name="crm", concurrency=1)
    limited(writer, name="crm", handler=OTHER, concurrency=1)
    (first,) = queue(writer, name="crm")
    (second,) = queue(writer, name="crm", handler=OTHER)
    assert second.blocked == KEY
    end(writer, begin(writer, first))
    begin(writer, second)


def test_a_paused_handler_leaves_the_places_of_shared_keys_to_others(writer: Writer) -> None:
    """The places of its own keys are kept: nobody else could use them."""
    limited(writer, name="crm", concurrency=1)
    limited(writer, name="crm", handler=OTHER, concurrency=1)
    mine = queue(writer, 3, name="crm")
    (other,) = queue(writer, name="crm", handler=OTHER)
    writer.run_sync(lambda tx: concurrency.pause(tx, HANDLER, by=None))
    for job in mine:
        assert writer.run_sync(lambda tx, job=job: claim(tx, job.id)) is None  # type: ignore[misc]
        assert now(writer, job).blocked == concurrency.PAUSED
    running = begin(writer, other)
    writer.run_sync(lambda tx: concurrency.resume(tx, HANDLER))
    unblocked = writer.run_sync(lambda tx: blocked.unblock(tx, HANDLER, 10))
    assert {job.blocked for job in unblocked} == {KEY}
    end(writer, running)
    assert in_line(writer) == [mine[0].id]
    limited(writer, handler="conformance.any", concurrency=1)  # of the name that the handler itself has
    own = queue(writer, 2, "own")
    writer.run_sync(lambda tx: concurrency.pause(tx, HANDLER, by=None))
    assert writer.run_sync(lambda tx: claim(tx, own[0].id)) is None
    assert now(writer, own[1]).blocked == KEY
    writer.run_sync(lambda tx: concurrency.resume(tx, HANDLER))
    assert [job.id for job in writer.run_sync(lambda tx: blocked.unblock(tx, HANDLER, 10))] == [own[0].id]
    begin(writer, own[0])


def test_a_handler_s_own_limit_blocks_one_job_of_each_key(writer: Writer) -> None:
    """The job keeps the place of its key, so that a long backlog of one key stands behind nobody's job."""
    limited(writer, concurrency=1)
    writer.run_sync(lambda tx: concurrency.configure(tx, {HANDLER: Limit(concurrency=1)}))
    ann = queue(writer, 5, "ann")
    (ben,) = queue(writer, 1, "ben")
    running = begin(writer, ann[0])
    assert writer.run_sync(lambda tx: claim(tx, ben.id)) is None
    assert writer.run_sync(blocked.count) == {concurrency.CONCURRENCY: 1, KEY: 4}

    def ended(tx: Tx) -> list[Job]:
        recording.record_outcome(tx, running, Outcome(S.SUCCEEDED), steps=running.steps)
        return blocked.unblock(tx, HANDLER, limit=100)

    assert [job.id for job in writer.run_sync(ended)] == [ben.id]
    assert writer.run_sync(lambda tx: claim(tx, ann[1].id)) is None, "its turn comes after"
    begin(writer, ben)


def test_a_larger_limit_holds_for_jobs_that_were_accepted_before(writer: Writer) -> None:
    """Maintenance looks at each key with blocked jobs once, however many there are."""
    limited(writer, concurrency=1)
    limited(writer, handler=OTHER, name=f"{HANDLER}9", concurrency=1)
    accepted = {value: queue(writer, 4, value) for value in ("", "a", "b", "c", "d")}
    other = queue(writer, 2, "x", name=f"{HANDLER}9", handler=OTHER)
    limited(writer, concurrency=3)
    assert writer.run_sync(key_limits.next_look_us) == 0
    look(writer)
    assert writer.run_sync(key_limits.next_look_us) is None
    expected = [job.id for some in accepted.values() for job in some[:3]]
    assert in_line(writer) == sorted([*expected, other[0].id])


def test_a_smaller_limit_holds_once_what_has_a_place_is_over(writer: Writer) -> None:
    limited(writer, concurrency=3)
    accepted = queue(writer, 6)
    running = [begin(writer, job) for job in accepted[:3]]
    limited(writer, concurrency=1)
    look(writer)
    for job in running[:2]:
        end(writer, job)
        assert in_line(writer) == []
    end(writer, running[2])
    assert in_line(writer) == [accepted[3].id]


def test_without_the_limit_all_its_jobs_run(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of another limit is left as it is."""
    monkeypatch.setattr(key_limits, "MAX_OF_KEY", 2)
    limited(writer, concurrency=1)
    limited(writer, handler=OTHER, name="crm", concurrency=1)
    accepted = queue(writer, 9)
    other = queue(writer, 2, name="crm", handler=OTHER)
    limited(writer)
    look(writer)
    assert in_line(writer) == sorted([*(job.id for job in accepted), other[0].id])
    assert writer.run_sync(lambda tx: tx.scalars(sa.select(rows.c.key))) == []


def test_a_rate_lets_jobs_start_as_fast_as_it_says(writer: Writer) -> None:
    """The next look is when one more may start; each attempt counts, and a key at rest has no row."""
    limited(writer, rate=Rate(20, MINUTE_US))
    look(writer)
    accepted = queue(writer, 4)
    assert [job.blocked for job in accepted] == [None, None, KEY, KEY]
    assert writer.run_sync(key_limits.next_look_us) is None, "two are in line, and have not started"
    first = begin(writer, accepted[0])
    end(writer, first)
    interval_us = Rate(20, MINUTE_US).interval_us
    wait_us = writer.run_sync(key_limits.next_look_us)
    assert wait_us is not None
    assert 0 < wait_us <= interval_us
    back = sa.update(rows).values(even_at=rows.c.even_at - interval_us, next_at=rows.c.next_at - interval_us)
    writer.run_sync(lambda tx: tx.execute(back))
    look(writer)
    assert in_line(writer) == [accepted[1].id, accepted[2].id]
    for job in accepted[1:3]:
        end(writer, begin(writer, job))
    assert in_line(writer) == []
    writer.run_sync(lambda tx: tx.execute(back.values(even_at=1, next_at=1)))
    look(writer)
    end(writer, begin(writer, accepted[3]))
    writer.run_sync(lambda tx: tx.execute(back.values(even_at=1, next_at=1)))
    look(writer)
    assert writer.run_sync(lambda tx: tx.scalars(sa.select(rows.c.key))) == []


def test_a_faster_rate_applies_at_once_to_blocked_jobs(writer: Writer) -> None:
    limited(writer, rate=Rate(1, 86_400_000_000))
    first, second = queue(writer, 2)
    end(writer, begin(writer, first))
    assert in_line(writer) == []
    limited(writer, rate=Rate(600, 1_000_000))
    look(writer)
    assert in_line(writer) == [second.id]


def test_a_clock_that_was_set_back_keeps_no_key_waiting(writer: Writer) -> None:
    """The time of the next look was written by a clock that was two days ahead."""
    limited(writer, rate=Rate(10, MINUTE_US))
    first, second = queue(writer, 2)
    end(writer, begin(writer, first))
    ahead = {name: rows.c[name] + 2 * 86_400_000_000 for name in ("even_at", "next_at")}
    writer.run_sync(lambda tx: tx.execute(sa.update(rows).values(ahead)))
    look(writer)
    assert in_line(writer) == [second.id]


def test_both_limits_of_a_key_hold(writer: Writer) -> None:
    limited(writer, concurrency=1, rate=Rate(20, MINUTE_US))
    look(writer)
    accepted = queue(writer, 4)
    end(writer, begin(writer, accepted[0]))
    assert in_line(writer) == [accepted[1].id]
    end(writer, begin(writer, accepted[1]))
    assert in_line(writer) == []
    assert writer.run_sync(key_limits.next_look_us)


def test_a_job_that_an_older_release_has_queued_gets_a_place_first(writer: Writer) -> None:
    """No claim takes it without: it is blocked by the first that comes, or by maintenance."""
    limited(writer, concurrency=1)
    first, second, third = queue(writer, 3)
    begin(writer, first)
    queued = sa.update(jobs).where(jobs.c.id.in_([second.id, third.id])).values(parked=None, token=jobs.c.token + 1)
    writer.run_sync(lambda tx: tx.execute(queued))
    assert writer.run_sync(claim_due) == []
    assert writer.run_sync(lambda tx: claim(tx, second.id)) is None
    assert now(writer, second).blocked == KEY
    assert writer.run_sync(key_limits.next_look_us) == 0
    look(writer)
    assert now(writer, third).blocked == KEY
    end(writer, writer.run_sync(lambda tx: ledger.get(tx, first.id)) or first)
    assert in_line(writer) == [second.id]


def test_jobs_of_a_caller_s_transaction_wait_for_maintenance(ledger_url: str) -> None:
    """A caller's transaction may last, so it locks no key."""
    with closing(Database(ledger_url, embedded=True)) as database:
        writer = Writer(database)
        writer.start()
        try:
            _bring(writer)
        finally:
            writer.close()


def _bring(writer: Writer) -> None:
    limited(writer, concurrency=1)
    known = writer.run_sync(ledger_id)
    new = {"limit_key": f"{HANDLER}:ann"}
    with closing(_connection(writer)) as session:
        session.execute("BEGIN")
        brought = [callers.run(writer.database, session, known, lambda tx: accept(tx, HANDLER, **new)) for _ in "ab"]
        if writer.database.dialect == "postgresql":
            assert queue(writer)[0].blocked is None, "nobody waits for it"
        session.execute("COMMIT")
    assert [job.blocked for job in brought] == [KEY, KEY]  # type: ignore[union-attr]
    assert writer.run_sync(key_limits.next_look_us) == 0
    writer.run_sync(lambda tx: due.reroute(tx, 10, old="here", handler=HANDLER, new="there"))
    look(writer)
    assert writer.run_sync(key_limits.next_look_us) is None
    assert len(in_line(writer)) == 1


def _connection(writer: Writer) -> Any:
    if writer.database.dialect == "sqlite":
        return sqlite3.connect(writer.database.driver.path, isolation_level=None)  # type: ignore[attr-defined]
    return psycopg.connect(writer.database.driver._url, autocommit=True)  # type: ignore[attr-defined]


async def test_a_function_that_is_rolled_back_leaves_the_keys_of_others(writer: Writer) -> None:
    """The jobs that share its commit get their places."""
    limited(writer, concurrency=1)

    def broken(tx: Tx) -> None:
        accept(tx, HANDLER, limit_key=f"{HANDLER}:ann")
        raise ValueError("as it was told to")

    with pytest.raises(ValueError, match="as it was told to"):
        writer.run_sync(broken)
    kept = writer.run(lambda tx: accept(tx, HANDLER, limit_key=f"{HANDLER}:ann"))
    with pytest.raises(ValueError, match="as it was told to"):
        await writer.run(broken)
    assert (await kept).blocked is None
    assert len(in_line(writer)) == 1


def test_a_job_without_a_key_costs_no_further_statement(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to accept, nor to claim or to end it, also where other handlers have limits by key."""
    limited(writer, concurrency=1)
    job = writer.run_sync(accept)
    seen: list[Any] = []
    run = Tx._run

    def noted(tx: Tx, statement: Any, params: dict[str, Any]) -> Any:
        seen.append(statement)
        return run(tx, statement, params)

    monkeypatch.setattr(Tx, "_run", noted)
    writer.run_sync(accept)
    running = begin(writer, job)
    end(writer, running)
    mine = {value for value in vars(key_limits).values() if isinstance(value, sa.sql.base.Executable)}
    assert seen
    assert not mine.intersection(seen)
    assert not set(key_limits.STATE.values()).intersection(seen)


KEYS = ("a", "b", "c")
_running = sa.select(jobs.c.limit_key, sa.func.count()).where(jobs.c.status == "RUNNING").group_by(jobs.c.limit_key)


def test_many_processes_together_keep_the_limits_and_forget_no_job(ledger_url: str) -> None:
    """Processes accept, claim, end, cancel, retry, hand back and lose claims; in the end every job has its turn."""
    most: Counter[str] = Counter()
    allowed = 2
    with writing(ledger_url) as one, writing(ledger_url) as two:
        limited(one, concurrency=allowed)
        errors: list[BaseException] = []

        def work(writer: Writer, runner: str, chance: random.Random) -> None:
            try:
                for _ in range(60):
                    _step(writer, runner, chance)
                    for key, n in writer.run_sync(lambda tx: tx.all(_running)):
                        most[key] = max(most[key], n)
            except BaseException as error:  # noqa: BLE001 - of a thread
                errors.append(error)

        threads = [
            threading.Thread(target=work, args=(writer, f"{n}", random.Random(n)))
            for n, writer in enumerate((one, two, one, two))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert most
        assert max(most.values()) <= allowed
        _finish(one)


def _step(writer: Writer, runner: str, chance: random.Random) -> None:
    """Do one thing that processes do."""
    kind = chance.randrange(8)
    if kind < 3:
        keys = [f"{HANDLER}:{chance.choice(KEYS)}" for _ in range(3)]
        writer.run_sync(lambda tx: [accept(tx, HANDLER, limit_key=key) for key in keys])
        return
    claimed = writer.run_sync(lambda tx: claims.claim_due(tx, runner=runner, worker="w", backend="here", limit=3), LAST)
    for job in claimed:
        status = chance.choice((S.SUCCEEDED, S.FAILED, S.RETRYING, S.QUEUED))
        end(writer, job, status)
    if kind == 3:
        writer.run_sync(lambda tx: due.promote_due(tx, 10, route=route), LAST)
    if kind == 4:
        waiting = sa.select(jobs.c.id).where(jobs.c.status == "QUEUED").limit(5)
        found = writer.run_sync(lambda tx: tx.scalars(waiting))
        for job_id in found[:1]:
            writer.run_sync(partial(_cancel, job_id=job_id), of_job(job_id))
    if kind == 5 and claimed and claimed[0].limit_key:
        writer.run_sync(lambda tx: _retry(tx, claimed[0].id), of_job(claimed[0].id))


def _cancel(tx: Tx, job_id: str) -> None:
    with suppress(Conflict):
        commands.cancel(tx, job_id, reason=None, visible=ALL)


def _retry(tx: Tx, job_id: str) -> None:
    with suppress(Conflict):
        commands.retry(tx, job_id, from_start=False, visible=ALL, route=route)


def _finish(writer: Writer) -> None:
    """Run all that is left: nothing but ends lets a job start, and what maintenance looks at."""
    open_ones = sa.select(sa.func.count()).where(jobs.c.status.in_(["QUEUED", "RETRYING", "RUNNING"]))
    for _ in range(2_000):
        writer.run_sync(lambda tx: due.promote_due(tx, 100, route=route))
        look(writer)
        claimed = writer.run_sync(lambda tx: claim_due(tx, 20))
        for job in claimed:
            end(writer, job)
        if not claimed and not writer.run_sync(lambda tx: tx.one(open_ones))[0]:  # type: ignore[index]
            return
    left = writer.run_sync(lambda tx: tx.all(sa.select(jobs.c.id, jobs.c.status, jobs.c.parked, jobs.c.placed)))
    raise AssertionError(f"jobs are left over: {[row for row in left if row[1] in ('QUEUED', 'RETRYING')]}")
