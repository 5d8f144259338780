"""Leases: dead processes are recognised without comparing clocks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import onward.storage.writer
from onward.jobs import claims, leadership, ledger, observation, places, recovery
from onward.jobs.leases import Lease
from onward.jobs.model import Job
from onward.jobs.states import JobStatus
from onward.jobs.timings import Timings
from onward.storage.base import Unavailable
from onward.storage.batches import FIRST_ROWS
from onward.storage.lock_order import LockOrder
from onward.storage.tables import jobs, runners
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics
from tests.ledgers import OLDER, accept, locked, new_job, writing

S = JobStatus
_enter = sa.insert(runners)
_beat_of = sa.select(runners.c.beat).where(runners.c.id == sa.bindparam("id_"))
_ids = sa.select(runners.c.id)
_beat = sa.update(runners).where(runners.c.id == sa.bindparam("id_")).values(beat=runners.c.beat + 1)


class Clock:
    """The observer's monotonic clock, set by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(observation, "time", made)
    return made


class Observer:
    """A lease without its thread, which observes on request."""

    def __init__(self, writer: Writer, timings: Timings = Timings()) -> None:
        self.lost = 0
        self.lease = Lease(writer, Metrics(), name="observer", on_lost=self._note, timings=timings)
        self.lease.id = writer.run_sync(self.lease._enter)

    def _note(self) -> None:
        self.lost += 1

    def observe(self) -> None:
        self.lease._observe()


@pytest.fixture
def observer(writer: Writer, clock: Clock) -> Observer:
    return Observer(writer)


def stranger(writer: Writer, place: str = "") -> Job:
    """Create a job that a process at that place holds."""
    writer.run_sync(
        lambda tx: tx.execute(_enter, id="stranger", beat=1, place=place, name="s", started_at=tx.now, **OLDER)
    )
    return _held_by(writer, "stranger")


def _held_by(writer: Writer, runner: str) -> Job:
    """Create a job that the runner holds."""
    job = writer.run_sync(accept)
    claimed = writer.run_sync(
        lambda tx: claims.claim(tx, job.id, runner=runner, worker="w", backend="here", isolated=False)
    )
    assert claimed is not None
    return claimed


def now(writer: Writer, job: Job) -> Job:
    found = writer.run_sync(lambda tx: ledger.get(tx, job.id))
    assert found is not None
    return found


def test_a_counter_that_stands_still_long_enough_means_death(writer: Writer, observer: Observer, clock: Clock) -> None:
    """The death is seen at the first observation after `lease_timeout_s` of the observer's own time."""
    job = stranger(writer)
    observer.observe()
    elapsed = 0.0
    while elapsed < Timings().lease_timeout_s:
        assert now(writer, job).status is S.RUNNING
        clock.now += 1.0
        elapsed += 1.0
        observer.observe()
    after = now(writer, job)
    assert (after.status, after.crash_count, after.counted_attempts) == (S.QUEUED, 1, 0)
    (attempt,) = after.attempts
    assert attempt.error is not None
    assert (attempt.error.code, attempt.counts_as_attempt) == ("LEASE_LOST", False)


@pytest.mark.slow
def test_a_counter_that_rises_now_and_then_means_life(writer: Writer, observer: Observer, clock: Clock) -> None:
    """A heartbeat every six seconds is enough."""
    job = stranger(writer)
    for n in range(24):
        if n % 6 == 0:
            writer.run_sync(lambda tx: tx.execute(_beat, id_="stranger"))
        observer.observe()
        clock.now += 1.0
    assert now(writer, job).status is S.RUNNING


def test_time_in_which_the_observer_could_not_write_does_not_count(
    writer: Writer, observer: Observer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During an hour of outage the other processes could not write a heartbeat either."""
    job = stranger(writer)
    observer.observe()
    run_sync = writer.run_sync

    def away(_function: Any, _order: LockOrder, **_urgent: bool) -> Any:
        raise Unavailable("away")

    monkeypatch.setattr(writer, "run_sync", away)
    for _ in range(3600):
        clock.now += 1.0
        with pytest.raises(Unavailable):
            observer.observe()
    monkeypatch.setattr(writer, "run_sync", run_sync)
    observer.observe()
    assert now(writer, job).status is S.RUNNING
    run_sync(lambda tx: tx.execute(_beat, id_="stranger"))
    for _ in range(5):
        clock.now += 1.0
        observer.observe()
    assert now(writer, job).status is S.RUNNING


def test_an_observer_that_was_frozen_declares_no_process_dead(writer: Writer, observer: Observer, clock: Clock) -> None:
    """A pause of an hour counts as one heartbeat interval."""
    job = stranger(writer)
    observer.observe()
    clock.now += 3600
    observer.observe()
    assert now(writer, job).status is S.RUNNING


def test_the_death_of_a_process_on_the_same_machine_is_seen_at_once(writer: Writer, observer: Observer) -> None:
    """The missing process shows it without a wait for the counter. A zombie counts as gone."""
    neighbour = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        job = stranger(writer, place=places.place_of(neighbour.pid))
        observer.observe()
        assert now(writer, job).status is S.RUNNING
        neighbour.kill()
        os.waitid(os.P_PID, neighbour.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
        observer.observe()
        assert now(writer, job).status is S.QUEUED
    finally:
        neighbour.kill()
        neighbour.communicate()


def test_a_live_process_on_the_same_machine_is_never_declared_dead(clock: Clock) -> None:
    """A handler may hold the interpreter's lock. A stopped process is judged by its counter, as elsewhere."""
    neighbour = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        here = places.place_of(neighbour.pid)
        beats = [
            observation.Heartbeat("plain", 1, here),
            observation.Heartbeat("isolated", 1, places.ISOLATED + here),
            observation.Heartbeat("elsewhere", 1, "elsewhere/" + here.partition("/")[2]),
        ]
        found = observation.Observer(places.place(), Timings())
        assert _dead(found, beats, clock, 60.0) == {"elsewhere"}
        assert found.stalled == {"plain", "isolated"}
        neighbour.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, neighbour.pid, os.WSTOPPED)
        assert _dead(found, beats, clock, Timings().lease_timeout_s + 1.0) == {"plain", "isolated", "elsewhere"}
    finally:
        neighbour.kill()
        neighbour.communicate()


def _dead(observer: observation.Observer, beats: list[observation.Heartbeat], clock: Clock, seconds: float) -> set[str]:
    """Return the runners that an observer finds dead, looking once a second."""
    dead = set()
    until = clock.now + seconds
    while clock.now < until:
        dead |= {beat.runner for beat in observer.observe(beats)}
        clock.now += 1.0
    return dead


def test_a_process_on_another_machine_is_not_a_neighbour() -> None:
    """In another boot or pid namespace its pid says nothing here."""
    mine = places.place()
    boot, namespace, pid, started = mine.split("/")
    assert not places.is_gone(mine, mine)
    assert places.is_gone(f"{boot}/{namespace}/{pid}/1", mine)  # the pid is another process's by now
    assert not places.is_gone(f"other/{namespace}/{pid}/1", mine)
    assert not places.is_gone(f"{boot}/other/{pid}/1", mine)
    assert not places.is_gone("", mine)
    assert started
    isolated = places.ISOLATED + f"{boot}/{namespace}/{pid}/1"
    assert not places.is_gone(isolated, mine), "its parent reports it"
    assert not places.is_gone(isolated, isolated)
    assert places.is_gone(f"{boot}/{namespace}/{pid}/1", isolated)
    assert places.is_alive(mine, mine)
    assert not places.is_alive(f"other/{namespace}/{pid}/{started}", mine)
    assert not places.is_alive("", "")


@pytest.mark.parametrize("error", [None, PermissionError, ProcessLookupError])
def test_a_neighbour_that_proc_does_not_show_is_gone_only_if_it_does_not_exist(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError] | None
) -> None:
    """A process of another user is not shown with `hidepid`; its counter tells of its death."""
    mine = places.place()

    def kill(_pid: int, _signal: int) -> None:
        if error is not None:
            raise error

    def read_place(_pid: int, _states_out: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(places, "_read_place", read_place)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    monkeypatch.setattr(os, "kill", kill)
    assert places.is_gone(mine, mine) == (error is ProcessLookupError)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_neighbour_is_not_gone_where_proc_cannot_be_read(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A process that has no descriptor left learns nothing of its neighbours: their counters tell of their deaths."""
    mine = places.place()

    def read_text(_path: Path) -> str:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "read_text", read_text)
    assert not places.is_gone(mine, mine)
    assert not places.is_alive(mine, mine)


def crowd(writer: Writer, runner: str, held: int) -> None:
    """Create so many jobs that the runner holds, and as many that were accepted for it."""
    writer.run_sync(lambda tx: [accept(tx) for _ in range(held)])
    claimed = writer.run_sync(
        lambda tx: claims.claim_due(tx, runner=runner, worker="w", backend="here", limit=held, grace_us=0)
    )
    assert len(claimed) == held
    writer.run_sync(lambda tx: [ledger.accept(tx, new_job(), local_runner=runner) for _ in range(held)])


def largest_commit(writer: Writer) -> int:
    """Return the most jobs, queued again or let go, that one commit has changed."""
    sizes = sa.select(sa.func.count()).where(jobs.c.status == "QUEUED", jobs.c.attempt > 0).group_by(jobs.c.changed)
    return max(map(int, writer.run_sync(lambda tx: tx.scalars(sizes))))


def test_many_jobs_of_a_dead_process_are_reclaimed_a_part_in_each_commit(writer: Writer) -> None:
    """The process that reclaims them shows between two commits that it lives, and takes the lead of a dead leader."""
    writer.run_sync(
        lambda tx: tx.execute(_enter, id="stranger", beat=1, place="", name="s", started_at=tx.now, **OLDER)
    )
    writer.run_sync(lambda tx: leadership.elect(tx, "stranger", ["stranger"]))
    count = 2 * recovery.ROWS + 1
    crowd(writer, "stranger", count)
    one = Observer(writer, Timings(heartbeat_s=0.0))
    one.lease._reclaim("stranger", 1)
    assert one.lease.leads
    assert (writer.run_sync(lambda tx: tx.scalar(_beat_of, id_=one.lease.id)) or 0) > 1
    assert largest_commit(writer) <= recovery.ROWS
    left = sa.select(sa.func.count()).where(
        sa.or_(jobs.c.delivered_to.is_not(None), jobs.c.deaths + jobs.c.attempt == 1)
    )
    assert writer.run_sync(lambda tx: tx.scalar(left)) == 0
    assert writer.run_sync(lambda tx: tx.scalars(_ids)) == [one.lease.id]


def test_a_reclaim_that_ends_halfway_is_gone_on_with_by_another_process(writer: Writer) -> None:
    """Each of the jobs counts the crash once."""
    writer.run_sync(
        lambda tx: tx.execute(_enter, id="stranger", beat=1, place="", name="s", started_at=tx.now, **OLDER)
    )
    crowd(writer, "stranger", recovery.ROWS + 1)
    first = writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="stranger", beat=1))
    assert first is not None
    assert first.more
    Observer(writer).lease._reclaim("stranger", 1)
    crashes = sa.select(jobs.c.deaths, sa.func.count()).group_by(jobs.c.deaths)
    assert sorted(writer.run_sync(lambda tx: tx.all(crashes))) == [(0, recovery.ROWS + 1), (1, recovery.ROWS + 1)]


def test_jobs_that_were_reclaimed_before_an_outage_are_counted(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The observer that goes on with the dead process finds the others alone."""
    writer.run_sync(
        lambda tx: tx.execute(_enter, id="stranger", beat=1, place="", name="s", started_at=tx.now, **OLDER)
    )
    crowd(writer, "stranger", recovery.ROWS)
    lease = Observer(writer).lease
    run, commits = writer.run_sync, [True]

    def once(*given: Any, **options: Any) -> Any:
        if not commits:
            raise Unavailable("away")
        commits.pop()
        return run(*given, **options)

    monkeypatch.setattr(writer, "run_sync", once)
    with pytest.raises(Unavailable):
        lease._reclaim("stranger", 1)
    assert f"onward_lease_rescues_total {FIRST_ROWS}.0" in lease._metrics.text().decode()
    monkeypatch.setattr(writer, "run_sync", run)
    lease._reclaim("stranger", None)
    assert f"onward_lease_rescues_total {recovery.ROWS}.0" in lease._metrics.text().decode()


def test_a_locked_job_of_a_dead_process_delays_no_other(postgres_ledger: str, clock: Clock) -> None:
    """The locked one is queued when its lock is gone, and counts the crash; meanwhile others' deaths are noticed."""
    with writing(postgres_ledger) as writer:
        observer = Observer(writer)
        jobs = [stranger(writer), *(_held_by(writer, "stranger") for _ in range(3))]
        observer.observe()
        with locked(writer, jobs[1]):
            for _ in range(round(Timings().lease_timeout_s) + 1):
                clock.now += 1.0
                began = time.monotonic()
                observer.observe()
                assert time.monotonic() - began < writer.timeout_s / 2, "it has waited for the lock"
            statuses = [now(writer, job).status for job in jobs]
            assert statuses == [S.QUEUED, S.RUNNING, S.QUEUED, S.QUEUED]
        observer.observe()
        assert [(now(writer, job).status, now(writer, job).crash_count) for job in jobs] == [(S.QUEUED, 1)] * 4
        assert writer.run_sync(lambda tx: tx.scalars(_ids)) == [observer.lease.id]


def test_a_process_that_lives_after_all_notices_the_loss_though_one_of_its_jobs_was_locked(
    postgres_ledger: str,
) -> None:
    """The process raises its counter before its last job is reclaimed."""
    with writing(postgres_ledger) as writer:
        one, other = Observer(writer), Observer(writer)
        before = one.lease.id
        job = _held_by(writer, before)
        with locked(writer, job):
            other.lease._reclaim(before, 1)
            one.observe()
        assert (one.lost, now(writer, job).status) == (0, S.RUNNING)
        other.observe()
        one.observe()
        assert (one.lost, now(writer, job).status) == (1, S.QUEUED)


def test_a_process_that_ends_hands_back_what_is_not_locked(postgres_ledger: str) -> None:
    with writing(postgres_ledger) as writer:
        one = Observer(writer)
        jobs = [_held_by(writer, one.lease.id) for _ in range(3)]
        with locked(writer, jobs[1]):
            one.lease.close()
            assert [now(writer, job).status for job in jobs] == [S.QUEUED, S.RUNNING, S.QUEUED]
        assert writer.run_sync(lambda tx: recovery.orphaned_runners(tx, assigned=())) == [one.lease.id]


def test_a_process_hands_many_jobs_back_a_part_in_each_commit(writer: Writer) -> None:
    one = Observer(writer)
    crowd(writer, one.lease.id, recovery.ROWS + 1)
    one.lease.close()
    assert largest_commit(writer) <= recovery.ROWS
    assert writer.run_sync(lambda tx: tx.scalars(_ids)) == []


def test_a_process_that_lost_its_lease_goes_on_under_another_id(writer: Writer, observer: Observer) -> None:
    """The process gets one new id, and its old claims are void."""
    before = observer.lease.id
    writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner=before, beat=1))
    observer.observe()
    assert observer.lost == 1
    assert observer.lease.id != before
    observer.observe()
    assert observer.lost == 1


def test_a_heartbeat_after_the_observation_saves_the_process(writer: Writer) -> None:
    """A process is reclaimed by the counter that was seen; another counter is a sign of life."""
    job = stranger(writer)
    writer.run_sync(lambda tx: tx.execute(_beat, id_="stranger"))
    assert writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner="stranger", beat=1)) is None
    assert now(writer, job).status is S.RUNNING


def test_one_process_leads_and_another_takes_over_after_it(writer: Writer, clock: Clock) -> None:
    """The next process that observes leads after its end."""
    one, two = Observer(writer), Observer(writer)
    for observer in (one, two, one, two):
        observer.observe()
    assert [one.lease.leads, two.lease.leads] == [True, False]
    writer.run_sync(lambda tx: recovery.release_runner(tx, runner=one.lease.id))
    two.observe()
    assert two.lease.leads


def test_a_process_whose_counter_stands_still_does_not_lead_though_it_lives(writer: Writer, observer: Observer) -> None:
    """The leader may hold its interpreter's lock for long, and maintenance must go on."""
    stranger(writer, places.place())
    assert writer.run_sync(lambda tx: leadership.elect(tx, "stranger", {"stranger"}))
    observer.observe()
    assert not observer.lease.leads
    observer.lease._observer.stalled = {"stranger"}
    observer.observe()
    assert observer.lease.leads


def test_a_process_whose_event_loop_is_blocked_lets_another_one_lead(writer: Writer, clock: Clock) -> None:
    """Maintenance runs on that loop. The process is alive, and keeps its jobs; it may lead again afterwards."""

    def block(observer: Observer) -> None:
        observer.lease._loop_ran_at -= Timings().lease_timeout_s
        observer.observe()

    one, two = Observer(writer), Observer(writer)
    job = _held_by(writer, one.lease.id)
    one.observe()
    block(one)
    two.observe()
    one.lease.note_loop_runs()
    one.observe()
    assert [one.lease.leads, two.lease.leads] == [False, True]
    block(two)
    one.observe()
    assert [one.lease.leads, two.lease.leads] == [True, False]
    assert (now(writer, job).status, one.lost, two.lost) == (S.RUNNING, 0, 0)


def test_a_start_waits_only_for_its_own_commit(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat goes with the next commit, which at the start of a process nobody else would make."""
    monkeypatch.setattr(onward.storage.writer, "LAZY_COMMIT_S", 3600.0)
    writer.run_sync(lambda tx: tx.now)  # from here on the writer waits by the new figure
    lease = Lease(writer, Metrics(), name="mine", on_lost=lambda: None)
    start = threading.Thread(target=lease.start)
    start.start()
    start.join(30)
    has_started = not start.is_alive()
    writer.run_sync(lambda tx: tx.now)  # lets go of one that waits
    start.join()
    lease.close()
    assert has_started


def test_a_lease_has_its_own_heartbeat_thread_and_is_released_at_the_end(writer: Writer) -> None:
    """The counter rises in an idle process; after the close the process is forgotten and its jobs wait."""
    lease = Lease(writer, Metrics(), name="mine", on_lost=lambda: None, timings=Timings(heartbeat_s=0.1))
    lease.start()
    job = writer.run_sync(accept)
    writer.run_sync(lambda tx: claims.claim(tx, job.id, runner=lease.id, worker="w", backend="here", isolated=False))
    beats = sa.select(runners.c.beat).where(runners.c.id == lease.id)
    has_started = time.monotonic()
    first = writer.run_sync(lambda tx: tx.execute_once(beats))[0][0]
    while writer.run_sync(lambda tx: tx.execute_once(beats))[0][0] < first + 2:
        assert time.monotonic() - has_started < 10
        time.sleep(0.02)
    lease.close()
    after = now(writer, job)
    assert (after.status, after.crash_count, after.counted_attempts) == (S.QUEUED, 0, 0)
    assert writer.run_sync(lambda tx: tx.all(_ids)) == []


def test_a_process_of_isolated_jobs_does_not_lead(writer: Writer) -> None:
    """Maintenance would rest until its job is over."""
    isolated = Lease(writer, Metrics(), name="isolated", on_lost=lambda: None, isolated=True)
    isolated.start()
    try:
        assert not isolated.leads
        lease = Lease(writer, Metrics(), name="mine", on_lost=lambda: None)
        lease.start()
        try:
            assert lease.leads
        finally:
            lease.close()
    finally:
        isolated.close()
