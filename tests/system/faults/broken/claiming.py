"""Breaks of claims, of the writes under them, and of leases."""

import threading
import time
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from tests.system.faults.broken import base


def no_claim() -> None:
    """Run a job twice that is delivered twice."""
    from onward.jobs import claims, row
    from onward.jobs.ledger import ID
    from onward.storage.sql import row_as_json
    from onward.storage.tables import jobs

    def anyway(claim: Any) -> Any:
        which = (ID, jobs.c.deaths <= sa.bindparam("crashes_"))
        return sa.update(jobs).where(*which).values(base.values(claim)).returning(row_as_json(*row.ALL))

    base.around(claims, "_claim", anyway)


def all_alike() -> None:
    """Accept every job with the same priority."""
    from onward.jobs import ledger

    def alike(accept: Any) -> Any:
        return lambda tx, new, **named: accept(tx, replace(new, priority=0), **named)

    base.around(ledger, "accept", alike)


def pauses_ignored() -> None:
    """Claim any waiting job, whatever its handler's limits are."""
    from onward.jobs import claims, row
    from onward.jobs.ledger import ID
    from onward.storage.sql import row_as_json
    from onward.storage.tables import jobs, ready

    def anyway(*which: Any) -> Any:
        def claiming(claim: Any) -> Any:
            return sa.update(jobs).where(*which, ready).values(base.values(claim)).returning(row_as_json(*row.ALL))

        return claiming

    base.around(claims, "_claim", anyway(ID, jobs.c.deaths <= sa.bindparam("crashes_")))
    base.around(claims, "_claim_due", anyway(jobs.c.id.in_(sa.select(claims._due.c.id))))


def expires_though_begun() -> None:
    """Claim no job whose time is over, though it has begun before."""
    from onward.jobs import claims
    from onward.storage.tables import jobs

    in_time = sa.or_(jobs.c.expires_at.is_(None), jobs.c.expires_at > sa.bindparam("now"))
    for name in ("_claim", "_claim_due"):
        base.around(claims, name, lambda claim: claim.where(in_time))


def limits_unread() -> None:
    """Ignore the limits of a handler that is not paused."""
    from onward.jobs import admission

    def unread(_admission: Any, _job: Any) -> str | None:
        return None

    base.put(admission._Admission, "refuses", unread)


def keys_unlimited() -> None:
    """Let every job of a key start."""
    from onward.jobs import key_limits

    base.put(key_limits, "limits", lambda _tx: {})


def names_unshared() -> None:
    """Give each handler its own keys, whatever the name of its limit is."""
    from onward.handlers.limit import Limit

    base.around(Limit, "key", lambda key: lambda limit, handler, params: f"{handler}:{key(limit, handler, params)}")


def places_kept() -> None:
    """Pass no place of a key on at the end of a job."""
    from onward.jobs import key_limits

    def keeping(note: Any) -> Any:
        return lambda tx, key, **did: note(tx, key, **did) if did else None

    base.around(key_limits, "note", keeping)


def blocked_for_ever() -> None:
    """Never unblock a job."""
    from onward.jobs import blocked

    base.put(blocked, "admissible_handlers", lambda _tx: ([], None))


def no_fence() -> None:
    """Let a runner's writes succeed after the end of its claim."""
    from onward.jobs import recording
    from onward.jobs.ledger import ID
    from onward.storage.tables import jobs

    def anyway(statement: Any) -> Any:
        return sa.update(jobs).where(ID).values(base.values(statement))

    base.around(recording, "_finish_step", anyway)
    base.around(recording, "_record", anyway)


def attempts_stand() -> None:
    """Count no new attempt at a claim."""
    from onward.jobs import claims
    from onward.storage.tables import jobs

    def standing(statement: Any) -> Any:
        return statement.values(attempt=jobs.c.attempt * 0 + 1)

    base.around(claims, "_claim", standing)
    base.around(claims, "_claim_due", standing)


def crashes_counted() -> None:
    """Count a crash as an attempt."""
    from onward.jobs import recording

    def counting(write: Any) -> Any:
        def written(tx: Any, job: Any, source: Any, outcome: Any, *rest: Any) -> Any:
            return write(tx, job, source, replace(outcome, counts_as_attempt=True), *rest)

        return written

    base.around(recording, "write", counting)


def stops_counted() -> None:
    """Count a job that is handed back at a stop as an attempt."""
    from onward.jobs import recording

    def counting(record: Any) -> Any:
        def recorded(tx: Any, job: Any, outcome: Any, **named: Any) -> Any:
            if outcome.status is recording.S.QUEUED:
                outcome = replace(outcome, counts_as_attempt=True)
            return record(tx, job, outcome, **named)

        return recorded

    base.around(recording, "record_outcome", counting)


def stops_fail() -> None:
    """Fail a job that is interrupted at a stop."""
    from onward.jobs import recording
    from onward.jobs.model import JobError
    from onward.jobs.outcome import Outcome

    def failing(record: Any) -> Any:
        def recorded(tx: Any, job: Any, outcome: Any, **named: Any) -> Any:
            if outcome.status is recording.S.QUEUED:
                outcome = Outcome(recording.S.FAILED, error=JobError("STOPPED", "stopped", True, None, 0))
            return record(tx, job, outcome, **named)

        return recorded

    base.around(recording, "record_outcome", failing)


def cancelled_anyway() -> None:
    """Make a job CANCELLED that ends while it is being cancelled, whatever its outcome."""
    from onward.jobs import recording

    def cancelling(write: Any) -> Any:
        def written(tx: Any, job: Any, source: Any, outcome: Any, *rest: Any) -> Any:
            if source is recording.S.CANCELLING:
                outcome = replace(outcome, status=recording.S.CANCELLED, error=None)
            return write(tx, job, source, outcome, *rest)

        return written

    base.around(recording, "write", cancelling)


def steps_left_open() -> None:
    """Leave the steps of a failed job as they were while it ran."""
    from onward.jobs import recording

    def left(close: Any) -> Any:
        return lambda steps, status, *rest: steps if status is recording.S.FAILED else close(steps, status, *rest)

    base.around(recording, "_close", left)


def step_results_dropped() -> None:
    """Drop the result of a finished step."""
    from onward.jobs import recording

    base.around(recording, "_advance", lambda advance: lambda steps, _result, now: advance(steps, None, now))


def never_isolated() -> None:
    """Never isolate a job, however often its runner has died."""
    from onward.jobs import claims, recovery

    base.put(claims, "CRASHES_BEFORE_ISOLATION", 100)
    base.put(recovery, "CRASHES_BEFORE_ISOLATION", 100)
    base.around(claims, "next_isolated", lambda _: lambda *_, **__: None)
    base.put(claims, "_claim_due", _claims_due_all(claims))


def _claims_due_all(claims: Any) -> Any:
    from onward.jobs import row
    from onward.storage.sql import row_as_json
    from onward.storage.tables import jobs

    due = (
        sa.select(jobs.c.id)
        .where(claims.ready, jobs.c.backend == sa.bindparam("backend_"))
        .limit(sa.bindparam("limit_", type_=sa.Integer))
    )
    which = (jobs.c.id.in_(due), jobs.c.status == claims.S.QUEUED.value)
    return sa.update(jobs).where(*which).values(claims._CLAIM).returning(row_as_json(*row.ALL))


def no_rescue() -> None:
    """Do not reclaim jobs of dead processes."""
    from onward.jobs.leases import Lease

    base.put(Lease, "_reclaim", lambda *_: None)


def impatient() -> None:
    """Declare a process dead, and its claims over, when its counter stands still for a moment."""
    from onward.jobs import observation, recovery

    base.timings(lease_timeout_s=0.0)
    base.put(recovery, "resume", lambda *_, **__: None)
    base.put(observation, "is_alive", lambda *_: False)


def neighbours_by_heartbeat() -> None:
    """Declare a process of the same machine dead when its counter stands still."""
    from onward.jobs import observation

    base.put(observation, "is_alive", lambda *_: False)


def leader_for_life() -> None:
    """Let a process that leads maintenance lead until its end, and beyond."""
    from onward.jobs import leadership

    base.around(leadership, "_lead_next", lambda statement: statement.where(sa.false()))


def never_resigns() -> None:
    """Let a process lead on while its event loop is blocked."""
    from onward.jobs import leadership

    base.put(leadership, "resign", lambda *_: None)


def beat_on_the_loop() -> None:
    """Send the heartbeat from the event loop, and judge neighbours by the heartbeat alone."""
    import asyncio

    from onward.jobs import observation
    from onward.jobs.leases import Lease
    from onward.jobs.runner import Runner

    def known(start: Any) -> Any:
        def started(self: Any) -> None:
            start(self)
            self._control._lease.loop = asyncio.get_running_loop()

        return started

    def in_turn(observe: Any) -> Any:
        def observed(self: Any, **urgent: bool) -> None:
            turn = threading.Event()
            if loop := getattr(self, "loop", None):
                loop.call_soon_threadsafe(turn.set)
                turn.wait()
            observe(self, **urgent)

        return observed

    base.around(Runner, "start", known)
    base.around(Lease, "_observe", in_turn)
    base.put(observation, "is_alive", lambda *_: False)


def leases_by_the_clock() -> None:
    """Record the time of a process's last sign of life by its own clock, and compare it with other clocks."""
    from onward.jobs import leases
    from onward.storage.tables import runners

    base.timings(heartbeat_s=0.1)  # so that it compares while the test's jobs run, and not once by chance
    table = runners
    written = sa.update(table).where(table.c.id == sa.bindparam("id_")).values(beat=sa.bindparam("beat_"))

    def entering(enter: Any) -> Any:
        def entered(self: Any, tx: Any) -> Any:
            fresh = enter(self, tx)
            tx.execute(written, id_=fresh, beat_=int(time.time()))
            return fresh

        return entered

    def pulsing(pulse: Any) -> Any:
        def pulsed(self: Any, tx: Any) -> Any:
            mine, self.rows, leads = pulse(self, tx)
            tx.execute(written, id_=mine, beat_=int(time.time()))
            return mine, self.rows, leads

        return pulsed

    def comparing(observe: Any) -> Any:
        def observed(self: Any, **urgent: bool) -> None:
            observe(self, **urgent)
            for runner, beat, _ in self.rows:
                if runner != self.id and beat < time.time() - self._timings.lease_timeout_s:
                    self._reclaim(runner, beat)

        return observed

    base.around(leases.Lease, "_enter", entering)
    base.around(leases.Lease, "_beat_once", pulsing)
    base.around(leases.Lease, "_observe", comparing)


def every_queue_taken() -> None:
    """Run the jobs of all queues in each process."""
    from onward.config.settings import Worker

    base.put(Worker, "taken", ())
