"""The ledger against its model, the table of legal moves: random claims, steps, outcomes, cancels, retries and deaths.

Several runners act on the same jobs, with claims that they hold and claims that they lost long ago.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from onward.jobs import claims, commands, due, history_rows, ledger, recording, recovery, stats
from onward.jobs.base import Conflict, Superseded
from onward.jobs.model import Job, JobError, Progress, Step, Visible
from onward.jobs.outcome import Outcome
from onward.jobs.states import HELD, MOVES, RETRYABLE, TERMINAL, JobStatus, StepStatus
from onward.storage.tables import jobs, later, runners
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from tests.ledgers import OLDER, accept, copied_postgres, copied_sqlite, route, writing

S = JobStatus
T = TypeVar("T")
ALL = Visible(everything=True)
OWNERS = ("ann", "bob")
RUNNERS = ("one", "two", "three")
JOBS = 8
PICK = st.integers(0, 10_000)
HOUR_US = 3_600_000_000
UNSEEN = {"changed", "delivered_to", "token", "runner", "worker"}  # no client sees these; they need no version

_rows = sa.select(jobs)
_enter = sa.insert(runners)
_beat = sa.update(runners).where(runners.c.id == sa.bindparam("id_")).values(beat=runners.c.beat + 1)
_make_delayed_due = sa.update(jobs).where(later).values(due_at=1)
_recount = sa.select(jobs.c.owner, jobs.c.status)


class Ledger(RuleBasedStateMachine):
    """`held` is the model of the claims: whose write counts. What the rows may become, `MOVES` says."""

    opened: ClassVar[Callable[[ExitStack], Writer]]

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.writer = type(self).opened(self.stack)
        self.ids: list[str] = []
        self.claims: list[tuple[str, Job]] = []  # all there ever were
        self.held: dict[str, tuple[str, Job]] = {}
        self.beats = dict.fromkeys(RUNNERS, 1)
        self.rows: dict[str, dict[str, Any]] = {}
        self.ends: Counter[tuple[str, int]] = Counter()
        self.moves: Counter[JobStatus] = Counter()
        self.restarted: set[str] = set()  # jobs whose finished steps may have been forgotten by the last rule
        for name in RUNNERS:
            self.do(partial(self._enter, name=name))

    def do(self, function: Callable[[Tx], T]) -> T:
        return self.writer.run_sync(function)

    def job(self, job_id: str) -> Job:
        found = self.do(lambda tx: ledger.get(tx, job_id))
        assert found is not None
        return found

    @staticmethod
    def _enter(tx: Tx, name: str) -> None:
        tx.execute(_enter, id=name, beat=1, place="", name=name, started_at=tx.now, **OLDER)

    def _one(self, pick: int) -> str:
        return self.ids[pick % len(self.ids)]

    def _claim(self, pick: int) -> tuple[str, Job]:
        """Choose a claim, in four of five cases one that counts."""
        found = sorted(self.held.values(), key=lambda claim: claim[1].id) if pick % 5 and self.held else self.claims
        return found[pick // 5 % len(found)]

    def _claimed(self, runner: str, job: Job) -> None:
        assert job.id not in self.held
        self.held[job.id] = (runner, job)
        self.claims.append((runner, job))

    @initialize(steps=st.lists(st.integers(1, 3), min_size=4, max_size=4))
    def begin(self, steps: list[int]) -> None:
        for n in steps:
            self.accept(None, False, n)

    @precondition(lambda self: len(self.ids) < JOBS)
    @rule(owner=st.sampled_from([None, *OWNERS]), late=st.booleans(), steps=st.integers(1, 3))
    def accept(self, owner: str | None, late: bool, steps: int) -> None:  # noqa: FBT001 - hypothesis hands it in
        """A job begins SCHEDULED or QUEUED, with version 1."""
        names = tuple(f"s{n}" for n in range(steps))
        at = 9_000_000_000_000_000 if late else None
        job = self.do(lambda tx: accept(tx, owner=owner, run_at=at, steps=names))
        assert (job.status, job.version) == (S.SCHEDULED if late else S.QUEUED, 1)
        assert job == self.job(job.id)
        self.ids.append(job.id)

    @rule(pick=PICK, runner=st.sampled_from(RUNNERS), alone=st.booleans())
    def claim(self, pick: int, runner: str, alone: bool) -> None:  # noqa: FBT001
        """Exactly the waiting jobs can be claimed."""
        job_id = self._one(pick)
        before = self.job(job_id)
        job = self.do(lambda tx: claims.claim(tx, job_id, runner=runner, worker="w", backend="here", isolated=alone))
        if job is None:
            assert before.status is not S.QUEUED or before.crash_count >= claims.CRASHES_BEFORE_ISOLATION
        else:
            assert before.status is S.QUEUED
            self._claimed(runner, job)

    @rule(runner=st.sampled_from(RUNNERS), limit=st.integers(1, 3))
    def claim_due(self, runner: str, limit: int) -> None:
        """At most the limit is claimed, and no job that a runner has."""
        found = self.do(lambda tx: claims.claim_due(tx, runner=runner, worker="w", backend="here", limit=limit))
        assert len(found) <= limit
        for job in found:
            self._claimed(runner, job)

    def _write(
        self, claim: tuple[str, Job], function: Callable[[Tx], object], *, ends: bool, may_refuse: bool = False
    ) -> None:
        """A runner's write counts exactly while its claim is the job's."""
        _, job = claim
        before = self.job(job.id)
        try:
            self.do(function)
        except Superseded:
            assert self.held.get(job.id) != claim or may_refuse
            assert self.job(job.id) == before
            return
        assert self.held.get(job.id) == claim
        if ends:
            del self.held[job.id]

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, value=st.integers(0, 99))
    def step_done(self, pick: int, value: int) -> None:
        """A step other than the last finishes."""
        claim = self._claim(pick)
        steps = self._steps(claim)
        if _left(steps) > 1:
            self._write(claim, partial(_step_done, job=claim[1], steps=steps, value=value), ends=False)

    def _steps(self, claim: tuple[str, Job]) -> tuple[Step, ...]:
        """Return the steps as their runner knows them."""
        _, job = claim
        return self.job(job.id).steps if self.held.get(job.id) == claim else job.steps

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, n=st.integers(0, 9))
    def report(self, pick: int, n: int) -> None:
        """Progress is written while the job runs, and not while it is being cancelled."""
        claim = self._claim(pick)
        cancelling = self.job(claim[1].id).status is S.CANCELLING
        function = partial(recording.report_progress, job=claim[1], progress=Progress(n))
        self._write(claim, function, ends=False, may_refuse=cancelling)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, value=st.integers(0, 99))
    def succeed(self, pick: int, value: int) -> None:
        """Finish the rest of the job."""
        claim = self._claim(pick)
        while _left(self._steps(claim)) > 1 and self.held.get(claim[1].id) == claim:
            function = partial(_step_done, job=claim[1], steps=self._steps(claim), value=value)
            self._write(claim, function, ends=False)
            self.every_change_is_legal()
        if _left(steps := self._steps(claim)) == 1:
            outcome = Outcome(S.SUCCEEDED, result=value)
            self._write(claim, partial(_record_outcome, job=claim[1], outcome=outcome, steps=steps), ends=True)

    @precondition(lambda self: self.claims)
    @rule(
        pick=PICK,
        status=st.sampled_from([S.FAILED, S.RETRYING, S.QUEUED, S.CANCELLED]),
        charged=st.booleans(),
        at_once=st.booleans(),
        further=st.booleans(),
    )
    def fail_attempt(self, pick: int, status: JobStatus, charged: bool, at_once: bool, further: bool) -> None:  # noqa: FBT001
        """An attempt fails in its first step or a later one; while CANCELLING it is the last."""
        claim = self._claim(pick)
        _, job = claim
        if further and _left(self._steps(claim)) > 1 and self.held.get(job.id) == claim:
            self._write(claim, partial(_step_done, job=job, steps=self._steps(claim), value=1), ends=False)
            self.every_change_is_legal()
        current = self.held.get(job.id) == claim
        now = self.job(job.id)
        steps = self._steps(claim)
        if status is S.CANCELLED and current and now.status is not S.CANCELLING:
            return
        error = JobError("E", "words", retryable=True, step=None, occurred_at=0)
        outcome = Outcome(status, result=1, error=error, counts_as_attempt=charged, delay_us=0 if at_once else HOUR_US)
        self._write(claim, partial(_record_outcome, job=job, outcome=outcome, steps=steps), ends=True)
        if current:
            after = self.job(job.id)
            never_again = now.status is S.CANCELLING and status in (S.RETRYING, S.QUEUED)
            assert after.status is (S.CANCELLED if never_again else status)
            assert after.attempts[-1].counts_as_attempt == charged

    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """Only a finished job is a conflict."""
        job_id = self._one(pick)
        before = self.job(job_id)
        try:
            after = self.do(lambda tx: commands.cancel(tx, job_id, reason="r", visible=ALL))
        except Conflict:
            assert before.status in TERMINAL
        else:
            assert before.status not in TERMINAL
            assert after.status is (S.CANCELLING if before.status in HELD else S.CANCELLED)

    @rule(pick=PICK, from_start=st.booleans())
    def retry(self, pick: int, from_start: bool) -> None:  # noqa: FBT001
        """Only a job that has not failed or been cancelled is a conflict; others get a fresh budget."""
        job_id = self._one(pick)
        before = self.job(job_id)
        try:
            after = self.do(lambda tx: commands.retry(tx, job_id, from_start=from_start, visible=ALL, route=route))
        except Conflict:
            assert before.status not in RETRYABLE
        else:
            assert before.status in RETRYABLE
            assert (after.status, after.run, after.counted_attempts, after.crash_count) == (
                S.QUEUED,
                before.run + 1,
                0,
                0,
            )
            kept = [] if from_start else [step for step in before.steps if step.status is StepStatus.SUCCEEDED]
            assert [step for step in after.steps if step.status is StepStatus.SUCCEEDED] == kept
            if from_start:
                self.restarted.add(job_id)

    @rule(limit=st.integers(1, 5), passes=st.booleans())
    def promote(self, limit: int, passes: bool) -> None:  # noqa: FBT001
        """Exactly the due jobs are queued."""
        if passes:
            self.do(lambda tx: tx.execute(_make_delayed_due))
            self.rows = self._snapshot()  # the clock's doing
        promoted = self.do(lambda tx: due.promote_due(tx, route=route, limit=limit))
        assert len(promoted) <= limit
        for job in promoted:
            assert self.job(job.id).status is S.QUEUED

    @rule(runner=st.sampled_from(RUNNERS))
    def beat(self, runner: str) -> None:
        self.do(lambda tx: tx.execute(_beat, id_=runner))
        self.beats[runner] += 1

    @precondition(lambda self: self.held)
    @rule(runner=st.sampled_from(RUNNERS), late=st.booleans())
    def reclaim(self, runner: str, late: bool) -> None:  # noqa: FBT001
        """A runner with a still counter loses all claims; one with a heartbeat loses none."""
        beat = self.beats[runner] - late
        batch = self.do(lambda tx: recovery.reclaim_dead(tx, runner=runner, beat=beat))
        mine = [job_id for job_id, (holder, _) in self.held.items() if holder == runner]
        assert (None if batch is None else len(batch.released)) == (None if late else len(mine))
        if not late:
            self._gone(runner, mine)

    @precondition(lambda self: self.held)
    @rule(runner=st.sampled_from(RUNNERS), drained=st.booleans())
    def leave_or_crash(self, runner: str, drained: bool) -> None:  # noqa: FBT001
        """A stop is charged to no job; a death that the parent sees counts."""
        mine = [job_id for job_id, (holder, _) in self.held.items() if holder == runner]
        before = {job_id: self.job(job_id) for job_id in mine}
        if drained:
            assert len(self.do(lambda tx: recovery.release_runner(tx, runner=runner)).released) == len(mine)
        else:
            self.do(lambda tx: recovery.reclaim_isolated(tx, runner=runner))
        for job_id in mine:
            after = self.job(job_id)
            assert after.counted_attempts == before[job_id].counted_attempts
            assert after.crash_count == before[job_id].crash_count + (not drained)
        self._gone(runner, mine)

    def _gone(self, runner: str, mine: list[str]) -> None:
        for job_id in mine:
            del self.held[job_id]
            assert self.job(job_id).status in (S.QUEUED, S.CANCELLED, S.FAILED)
        self.do(partial(self._enter, name=runner))
        self.beats[runner] = 1

    @rule(commits=st.integers(1, 40))
    def add_up(self, commits: int) -> None:
        """The figures of the oldest commits are added up, and the history says the same."""
        self.do(lambda tx: history_rows.add_up(tx, commits))

    @rule(identity=st.sampled_from(["a", "b"]), picks=st.lists(PICK, max_size=3))
    def deliver(self, identity: str, picks: list[int]) -> None:
        """Confirmations and invalidations are not visible to clients."""
        versions = {job_id: row["version"] for job_id, row in self._snapshot().items()}
        which = [self._one(pick) for pick in picks]
        waits = [(job_id, self.rows[job_id]["token"] if job_id in self.rows else 0) for job_id in which]
        self.do(lambda tx: due.confirm(tx, waits, identity=identity))
        if identity == "b":
            self.do(lambda tx: due.invalidate_deliveries(tx, backend="here", before=tx.now, limit=JOBS))
        assert {job_id: row["version"] for job_id, row in self._snapshot().items()} == versions

    def _snapshot(self) -> dict[str, dict[str, Any]]:
        names = [column.name for column in jobs.columns]
        return {row[0]: dict(zip(names, row, strict=True)) for row in self.do(lambda tx: tx.all(_rows))}

    @invariant()
    def every_change_is_legal(self) -> None:
        """Every move is in the table, every visible change raises the version, a run ends once, finished steps stay."""
        after = self._snapshot()
        for job_id, old in self.rows.items():
            new = after[job_id]
            seen = {name for name in old if old[name] != new[name]} - UNSEEN
            assert new["version"] - old["version"] == bool(seen), (old, new)
            assert (new["changed"] > old["changed"]) == bool(seen), (old, new)
            was, now = S(old["status"]), S(new["status"])
            if was is not now:
                self.moves[now] += 1
                assert now in MOVES[was], (was, now)
                if now in TERMINAL:
                    self.ends[job_id, new["run"]] += 1
                    assert self.ends[job_id, new["run"]] == 1
            assert new["run"] - old["run"] == (was in TERMINAL and now is S.QUEUED)
            assert (new["finished_at"] is not None) == (now in TERMINAL)
            assert new["token"] >= old["token"]
        self.rows = after
        self._compare_history()

    def _compare_history(self) -> None:
        """The history has every move that the rows have shown."""
        found = self.do(lambda tx: stats.stats(tx, stats.Span(tx.now - HOUR_US, tx.now + HOUR_US)))
        assert [one.counts for one in found] == [
            {
                "enqueued": len(self.ids),
                "started": sum(row["attempt"] for row in self.rows.values()),
                "succeeded": self.moves[S.SUCCEEDED],
                "failed": self.moves[S.FAILED],
                "cancelled": self.moves[S.CANCELLED],
                "retried": self.moves[S.RETRYING],
            }
        ] * bool(self.ids)

    @invariant()
    def finished_steps_stay(self) -> None:
        found = self.do(lambda tx: ledger.get_many(tx, [*self.rows]))
        assert found.keys() == self.rows.keys()
        for job_id, job in found.items():
            old = getattr(self, "steps", {}).get(job_id)
            if old is not None and job_id not in self.restarted:
                for before, step in zip(old, job.steps, strict=True):
                    assert before.status is not StepStatus.SUCCEEDED or step == before
            assert [n.number for n in job.attempts] == list(range(1, len(job.attempts) + 1))
        self.steps = {job_id: job.steps for job_id, job in found.items()}
        self.restarted.clear()

    @invariant()
    def the_counters_are_a_recount(self) -> None:
        found, counted = self.do(_counts)
        for owner, counts in counted.items():
            recount = Counter(status for whose, status in found if owner in (None, whose))
            assert counts == {status: recount[status] for status in JobStatus}

    @invariant()
    def what_is_held_is_the_model_s(self) -> None:
        held = {job_id: row["runner"] for job_id, row in self.rows.items() if S(row["status"]) in HELD}
        assert held == {job_id: runner for job_id, (runner, _) in self.held.items()}

    def teardown(self) -> None:
        self.stack.close()


def _counts(tx: Tx) -> tuple[list[Any], dict[str | None, dict[JobStatus, int]]]:
    """Return the owner and state of each job, and the counters of everybody and of each owner."""
    visible = {owner: Visible(owner, everything=owner is None) for owner in (None, *OWNERS)}
    return tx.all(_recount), {owner: ledger.counts(tx, visible=one) for owner, one in visible.items()}


def _step_done(tx: Tx, *, job: Job, steps: tuple[Step, ...], value: object) -> None:
    recording.finish_step(tx, job, steps, value, None)


def _record_outcome(tx: Tx, *, job: Job, outcome: Outcome, steps: tuple[Step, ...]) -> None:
    recording.record_outcome(tx, job, outcome, steps=steps)


def _left(steps: tuple[Step, ...]) -> int:
    return sum(step.status is not StepStatus.SUCCEEDED for step in steps)


def _run(opened: Callable[[ExitStack], Writer], examples: int) -> None:
    class Opened(Ledger):
        pass

    Opened.opened = staticmethod(opened)
    run_state_machine_as_test(
        Opened,
        settings=settings(
            max_examples=examples, stateful_step_count=80, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("examples", [10, pytest.param(60, marks=pytest.mark.long)])
def test_the_ledger_keeps_its_invariants_on_sqlite(examples: int, migrated_sqlite: Path, tmp_path: Path) -> None:
    """Run random histories of eighty actions."""

    def opened(stack: ExitStack) -> Writer:
        return stack.enter_context(writing(copied_sqlite(migrated_sqlite, tmp_path)))

    _run(opened, examples)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("examples", [4, pytest.param(20, marks=pytest.mark.long)])
def test_the_ledger_keeps_its_invariants_on_postgresql(
    examples: int, postgres_server_url: str, migrated_postgres: str
) -> None:
    """Run the same histories on PostgreSQL."""

    def opened(stack: ExitStack) -> Writer:
        url = stack.enter_context(copied_postgres(postgres_server_url, migrated_postgres))
        return stack.enter_context(writing(url))

    _run(opened, examples)
