"""The lease of a process on the jobs that it runs: a counter that it raises by a thread of its own."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial

import sqlalchemy as sa

from onward.jobs import leadership, recovery
from onward.jobs.dispatched import JobEnqueuer
from onward.jobs.observation import Heartbeat, Observer
from onward.jobs.places import ISOLATED, place
from onward.jobs.states import TERMINAL, JobStatus
from onward.jobs.timings import Timings
from onward.jobs.workers import API
from onward.storage.base import StorageError
from onward.storage.batches import ShortCommits
from onward.storage.lock_order import PROCESSES
from onward.storage.tables import runners
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry import logger
from onward.telemetry.memory import resident_bytes
from onward.telemetry.metrics import Metrics

_p = sa.bindparam
_register = sa.insert(runners)
_beat = (
    sa.update(runners)
    .where(runners.c.id == _p("id_"))
    # The wish of an admin is kept.
    .values(
        beat=runners.c.beat + 1,
        memory=_p("memory_"),
        draining=sa.func.coalesce(_p("draining_", type_=sa.SmallInteger), runners.c.draining),
    )
    .returning(runners.c.draining)
)
_all = sa.select(runners.c.id, runners.c.beat, runners.c.place)


def count_rescued(metrics: Metrics, released: Sequence[tuple[str, JobStatus]]) -> None:
    """Count the jobs of a dead process, and those of them that ended by its death."""
    metrics.rescued(len(released))
    for handler, status in released:
        if status in TERMINAL:
            metrics.finished(handler, status.value)


class Lease:
    """This process's counter, its observation of the other processes, and whether it leads maintenance."""

    def __init__(
        self,
        writer: Writer,
        metrics: Metrics,
        *,
        name: str,
        on_lost: Callable[[], None],
        on_drain: Callable[[], None] = lambda: None,
        is_draining: Callable[[], bool] = lambda: False,
        role: str = API,
        version: str = "",
        enqueuer: JobEnqueuer | None = None,
        takes: Collection[str] = (),
        isolated: bool = False,
        timings: Timings = Timings(),
    ) -> None:
        """`on_drain` is called from a thread, until `is_draining`, while an admin wants the process to drain."""
        self.id = ""
        self.name = name
        self._shown = {"role": role, "version": version}
        self.leads = False
        self._loop_ran_at = time.monotonic()
        self._timings = timings
        self._writer = writer
        self._metrics = metrics
        self._on_lost = on_lost
        self._on_drain = on_drain
        self._is_draining = is_draining
        self._enqueuer = enqueuer  # of the jobs that failures bring
        self._takes = " ".join(sorted(takes))  # destinations
        # The parent of an isolated process reports its death, and no neighbour may do so before.
        self._place = ISOLATED + place() if isolated else place()
        self._may_lead = not isolated  # it runs no maintenance
        self._observer = Observer(self._place, timings)
        self._dying: set[str] = set()  # runners of dead processes, some of whose jobs are reclaimed and some not yet
        self._raised_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)
        self._log = logger("lease")

    def start(self) -> None:
        """Register the process with the ledger, and begin to raise its counter. Raises Unavailable."""
        self._loop_ran_at = time.monotonic()
        self.id = self._writer.run_sync(self._enter)
        self._observe(urgent=False)  # at a start there is no other commit that it could share
        self._thread.start()

    def note_loop_runs(self) -> None:
        """Note that the event loop runs, as maintenance does: this process leads only as long as it does."""
        self._loop_ran_at = time.monotonic()

    def close(self) -> None:
        """Hand back the claims of this process, without counting an attempt, and forget the process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * self._timings.heartbeat_s)
        commits = ShortCommits(self._writer, most=recovery.ROWS)
        with suppress(StorageError):
            while commits.run_sync(partial(recovery.release_runner, runner=self.id)).more:
                time.sleep(commits.pause_s)

    def _enter(self, tx: Tx) -> str:
        fresh = f"runner_{secrets.token_hex(8)}"
        shown = {**self._shown, "memory": resident_bytes(), "draining": self._draining()}
        values = {"place": self._place, "name": self.name, "started_at": tx.now, "takes": self._takes, **shown}
        tx.execute(_register, id=fresh, beat=1, **values)
        return fresh

    def _draining(self) -> int | None:
        return 1 if self._is_draining() else None

    def _loop(self) -> None:
        while not self._stop.wait(self._timings.heartbeat_s):
            try:
                self._observe()
            except StorageError as error:
                self._log.debug("heartbeat not written", error=str(error))  # the writer warns of each outage
            except Exception:  # noqa: BLE001 - the loop must go on
                self._log.exception("heartbeat failed")

    def _observe(self, *, urgent: bool = True) -> None:
        dead = self._observer.observe(self._raise_counter(urgent=urgent))
        for runner, beat in ({other.runner: other.beat for other in dead} | dict.fromkeys(self._dying)).items():
            self._reclaim(runner, beat)

    def _raise_counter(self, *, urgent: bool = True) -> list[Heartbeat]:
        """Show that this process lives, and return the heartbeats of the others."""
        self._raised_at = time.monotonic()
        mine, heartbeats, self.leads, drains = self._writer.run_sync(self._beat_once, PROCESSES, urgent=urgent)
        if drains and not self._is_draining():
            self._on_drain()
        if mine != self.id:
            self.id = mine
            self._log.warning("lease lost: this process stood still for too long, and others took over its jobs")
            self._on_lost()
        return [heartbeat for heartbeat in heartbeats if heartbeat.runner != mine]

    def _beat_once(self, tx: Tx) -> tuple[str, list[Heartbeat], bool, bool]:
        """Raise the counter, and return this runner's id, all heartbeats, and whether it leads, and is to drain."""
        row = tx.one(_beat, id_=self.id, memory_=resident_bytes(), draining_=self._draining())
        mine = self._enter(tx) if row is None else self.id
        heartbeats = [Heartbeat._make(found) for found in tx.all(_all)]
        able = {heartbeat.runner for heartbeat in heartbeats} - self._observer.stalled - self._dying
        leads = self._may_lead and self._lead(tx, mine, able)
        return mine, heartbeats, leads, row is not None and row[0] is not None

    def _lead(self, tx: Tx, mine: str, able: Collection[str]) -> bool:
        """Lead if no other process does; let another one lead while a handler blocks the event loop of this one."""
        if time.monotonic() - self._loop_ran_at > self._timings.lease_timeout_s:
            leadership.resign(tx, mine)
            return False
        return leadership.elect(tx, mine, able)

    def _reclaim(self, runner: str, beat: int | None) -> None:
        """Reclaim the jobs of a dead process; another observer goes on if this one ends.

        `beat` is None if some of them are reclaimed.
        """
        released: recovery.Released = []
        commits = ShortCommits(self._writer, most=recovery.ROWS)
        reclaim = partial(recovery.reclaim_dead, runner=runner, enqueuer=self._enqueuer)
        batch = commits.run_sync(partial(reclaim, beat=beat))
        if batch is not None:
            self._dying.add(runner)
        seen, left = batch is not None, False
        while batch is not None:
            count_rescued(self._metrics, batch.released)  # now: the next commit may fail
            released += batch.released
            left = batch.left
            if not batch.more or self._stop.wait(commits.pause_s):
                break
            if time.monotonic() - self._raised_at > self._timings.heartbeat_s:
                self._raise_counter()
            batch = commits.run_sync(partial(reclaim, beat=None, after=batch.last))
        if batch is None or not (batch.more or left):
            self._dying.discard(runner)
        if released or (seen and not left):
            self._log.warning("a process died", runner=runner, jobs=len(released))
