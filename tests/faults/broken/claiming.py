"""Breaks of claims, of what is written under them, and of leases."""

import threading
import time
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from tests.faults.broken import base


def no_claim() -> None:
    """Two deliveries are two runs."""
    from onward.jobs import claims
    from onward.jobs.ledger import ID
    from onward.storage.tables import jobs

    def anyway(claim: Any) -> Any:
        which = (ID, jobs.c.deaths <= sa.bindparam("deaths_"))
        return sa.update(jobs).where(*which).values(base.values(claim)).returning(*jobs.c)

    base.around(claims, "_claim", anyway)


def all_alike() -> None:
    """Every job is accepted with the same priority."""
    from onward.jobs import ledger

    def alike(accept: Any) -> Any:
        return lambda tx, new, **named: accept(tx, replace(new, priority=0), **named)

    base.around(ledger, "accept", alike)


def gates_ignored() -> None:
    """A claim takes what waits, whatever its handler's gate says."""
    from onward.jobs import claims
    from onward.jobs.ledger import ID
    from onward.storage.tables import jobs, ready

    def anyway(*which: Any) -> Any:
        return lambda claim: sa.update(jobs).where(*which, ready).values(base.values(claim)).returning(*jobs.c)

    base.around(claims, "_claim", anyway(ID, jobs.c.deaths <= sa.bindparam("deaths_")))
    base.around(claims, "_claim_due", anyway(jobs.c.id.in_(sa.select(claims._due.c.id))))


def limits_unread() -> None:
    """Whoever comes to a gate that is not paused passes it."""
    from onward.jobs import concurrency

    def unread(_entry: Any, _one: Any) -> str | None:
        return None

    base.put(concurrency._Entry, "refuses", unread)


def parked_for_ever() -> None:
    """What was parked at a gate stays there."""
    from onward.jobs import concurrency

    base.put(concurrency, "unpaused_with_blocked", lambda _tx: ([], None))


def no_fence() -> None:
    """What a runner has to write is written, also when its claim is over."""
    from onward.jobs import claims
    from onward.jobs.ledger import ID
    from onward.storage.tables import jobs

    def anyway(statement: Any) -> Any:
        return sa.update(jobs).where(ID).values(base.values(statement))

    base.around(claims, "_step_done", anyway)
    base.around(claims, "_settle", lambda settle: anyway(settle).returning(jobs.c.version))


def attempts_stand() -> None:
    """A claim is no new attempt."""
    from onward.jobs import claims
    from onward.storage.tables import jobs

    def standing(statement: Any) -> Any:
        return statement.values(attempt=jobs.c.attempt * 0 + 1)

    base.around(claims, "_claim", standing)
    base.around(claims, "_claim_due", standing)


def charged_for_all() -> None:
    """A death is charged to the job."""
    from onward.jobs import claims

    def charging(write: Any) -> Any:
        return lambda tx, job, source, outcome, *rest: write(tx, job, source, replace(outcome, charged=True), *rest)

    base.around(claims, "_write", charging)


def stops_charged() -> None:
    """A job that is handed back at a stop has used up an attempt."""
    from onward.jobs import claims

    def charging(settle: Any) -> Any:
        def settled(tx: Any, job: Any, outcome: Any, **named: Any) -> Any:
            if outcome.status is claims.S.QUEUED:
                outcome = replace(outcome, charged=True)
            return settle(tx, job, outcome, **named)

        return settled

    base.around(claims, "record_outcome", charging)


def stops_fail() -> None:
    """A job that is halted at a stop has failed."""
    from onward.jobs import claims
    from onward.jobs.model import JobError

    def failing(settle: Any) -> Any:
        def settled(tx: Any, job: Any, outcome: Any, **named: Any) -> Any:
            if outcome.status is claims.S.QUEUED:
                outcome = claims.Outcome(claims.S.FAILED, error=JobError("STOPPED", "stopped", True, None, 0))
            return settle(tx, job, outcome, **named)

        return settled

    base.around(claims, "record_outcome", failing)


def cancelled_anyway() -> None:
    """A job that ends while it is being cancelled is CANCELLED, whatever it came to."""
    from onward.jobs import claims

    def cancelling(write: Any) -> Any:
        def written(tx: Any, job: Any, source: Any, outcome: Any, *rest: Any) -> Any:
            if source is claims.S.CANCELLING:
                outcome = replace(outcome, status=claims.S.CANCELLED, error=None)
            return write(tx, job, source, outcome, *rest)

        return written

    base.around(claims, "_write", cancelling)


def steps_left_open() -> None:
    """The steps of a job that failed stand as they did while it ran."""
    from onward.jobs import claims

    def left(closed: Any) -> Any:
        return lambda steps, status, *rest: steps if status is claims.S.FAILED else closed(steps, status, *rest)

    base.around(claims, "_closed", left)


def step_results_dropped() -> None:
    """A step that is done does not keep its result."""
    from onward.jobs import claims

    base.around(claims, "_advanced", lambda advanced: lambda steps, _result, now: advanced(steps, None, now))


def never_alone() -> None:
    """A job runs among others however often its runner has died."""
    from onward.jobs import claims

    base.put(claims, "CRASHES_BEFORE_ISOLATION", 100)
    base.around(claims, "next_isolated", lambda _: lambda *_, **__: None)
    base.put(claims, "_claim_due", _claims_due_all(claims))


def _claims_due_all(claims: Any) -> Any:
    from onward.storage.tables import jobs

    due = (
        sa.select(jobs.c.id)
        .where(claims.ready, jobs.c.backend == sa.bindparam("backend_"))
        .limit(sa.bindparam("limit_", type_=sa.Integer))
    )
    which = (jobs.c.id.in_(due), jobs.c.status == claims.S.QUEUED.value)
    return sa.update(jobs).where(*which).values(claims._CLAIM).returning(*jobs.c)


def no_rescue() -> None:
    """Nobody takes over from the dead."""
    from onward.jobs.leases import Lease

    base.put(Lease, "_reclaim", lambda *_: None)


def impatient() -> None:
    """A process whose counter stood still for a moment is taken for dead."""
    base.timings(lease_timeout_s=0.0)


def leader_for_life() -> None:
    """Who leads the sweep does so until its end, and beyond."""
    from onward.jobs import leases

    base.around(leases, "_lead_next", lambda statement: statement.where(sa.false()))


def beat_on_the_loop() -> None:
    """The heartbeat waits for its turn on the event loop."""
    import asyncio

    from onward.jobs.leases import Lease
    from onward.jobs.runner import Runner

    def known(start: Any) -> Any:
        def started(self: Any) -> None:
            start(self)
            self._lease.loop = asyncio.get_running_loop()

        return started

    def in_turn(observe: Any) -> Any:
        def observed(self: Any) -> None:
            turn = threading.Event()
            if loop := getattr(self, "loop", None):
                loop.call_soon_threadsafe(turn.set)
                turn.wait()
            observe(self)

        return observed

    base.around(Runner, "start", known)
    base.around(Lease, "_observe", in_turn)


def leases_by_the_clock() -> None:
    """A process writes down when it was alive, by its clock, and the others compare that with theirs."""
    from onward.jobs import leases
    from onward.storage.tables import runners

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
        def observed(self: Any) -> None:
            observe(self)
            for runner, beat, _ in self.rows:
                if runner != self.id and beat < time.time() - self._timings.lease_timeout_s:
                    self._bury(runner, beat)

        return observed

    base.around(leases.Lease, "_enter", entering)
    base.around(leases.Lease, "_pulse", pulsing)
    base.around(leases.Lease, "_observe", comparing)
