"""The lease of a process on what it runs: a counter that it raises, and that the others watch.

No two clocks are compared. A process is taken for dead when its counter has stood still for `lease_timeout_s` of the
observer's own monotonic clock, counting only time in which the observer itself could write to the ledger; or at once,
where it was a neighbour in the same pid namespace and its process is gone.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from onward.jobs import recovery
from onward.jobs.states import TERMINAL, JobStatus
from onward.jobs.timings import Timings
from onward.storage.base import StorageError
from onward.storage.sql import insert_new
from onward.storage.tables import meta, runners
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry.metrics import Metrics

PID = 2  # where it stands in a place
_LEADER = "sweep"

_p = sa.bindparam
_register = sa.insert(runners)
_beat = sa.update(runners).where(runners.c.id == _p("id_")).values(beat=runners.c.beat + 1)
_all = sa.select(runners.c.id, runners.c.beat, runners.c.place)
_leader = sa.select(meta.c.value).where(meta.c.name == _LEADER)
_lead_first = insert_new(meta).values(name=_LEADER, value=_p("id_"))
_lead_next = sa.update(meta).where(meta.c.name == _LEADER, meta.c.value == _p("old")).values(value=_p("id_"))


def place() -> str:
    """Where this process is: boot, pid namespace, pid and its start time; empty where the system does not tell."""
    return _place(os.getpid())


def _place(pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        state, *_, started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:20]
    except (OSError, ValueError):
        return ""
    return f"{boot}/{namespace}/{pid}/{started}" if state not in "ZX" else ""


def is_gone(where: str, mine: str) -> bool:
    """Whether a process was a neighbour of ours, and is no more."""
    there, here = where.split("/"), mine.split("/")
    return len(there) == len(here) and there[:2] == here[:2] and len(there) > PID and _place(int(there[PID])) != where


def count_rescued(metrics: Metrics, released: Sequence[tuple[str, JobStatus]]) -> None:
    """A dead process's jobs were taken back, and those are counted that ended by it."""
    metrics.rescued(len(released))
    for handler, status in released:
        if status in TERMINAL:
            metrics.finished(handler, status.value)


class Lease:
    """This process's counter, raised by a thread of its own; the observation of the others; who leads the sweep."""

    def __init__(
        self,
        writer: Writer,
        metrics: Metrics,
        *,
        name: str,
        on_lost: Callable[[], None],
        alone: bool = False,
        timings: Timings = Timings(),
    ) -> None:
        self.id = ""
        self.name = name
        self.leads = False
        self._writer = writer
        self._metrics = metrics
        self._on_lost = on_lost
        self._timings = timings
        # One that runs a job alone has a parent to tell of its death, whose word no neighbour must forestall.
        self._place = "" if alone else place()
        self._seen: dict[str, tuple[int, float]] = {}  # runner: its counter, and for how long that has stood still
        self._last = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="lease", daemon=True)
        self._log = structlog.get_logger("lease")

    def start(self) -> None:
        """The process is known to the ledger, and its counter rises. Raises Unavailable."""
        self.id = self._writer.run_sync(self._enter)
        self._observe(urgent=False)  # before a start's first commits there is none that it could go with
        self._thread.start()

    def close(self) -> None:
        """What is still claimed here waits again, charged to nobody, and the process is forgotten."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * self._timings.heartbeat_s)
        with suppress(StorageError):
            self._writer.run_sync(lambda tx: recovery.hand_back(tx, runner=self.id))

    def _enter(self, tx: Tx) -> str:
        fresh = f"runner_{secrets.token_hex(8)}"
        tx.execute(_register, id=fresh, beat=1, place=self._place, name=self.name, started_at=tx.now)
        return fresh

    def _loop(self) -> None:
        while not self._stop.wait(self._timings.heartbeat_s):
            try:
                self._observe()
            except StorageError:
                self._log.warning("heartbeat not written")
            except Exception:  # noqa: BLE001 - the loop goes on, whatever it was
                self._log.exception("heartbeat failed")

    def _observe(self, *, urgent: bool = True) -> None:
        mine, rows, self.leads = self._writer.run_sync(self._pulse, urgent=urgent)
        now = time.monotonic()
        # A long pause was ours, or the ledger's: it says nothing about the others.
        passed = min(now - self._last, 1.5 * self._timings.heartbeat_s) if self._last else 0.0
        self._last = now
        if mine != self.id:
            self.id = mine
            self._log.warning("lease lost: this process stood still for too long, and others took over its jobs")
            self._on_lost()
        seen: dict[str, tuple[int, float]] = {}
        for runner, beat, where in rows:
            if runner == self.id:
                continue
            before, still = self._seen.get(runner, (beat, 0.0))
            still = still + passed if before == beat else 0.0
            seen[runner] = (beat, still)
            if still >= self._timings.lease_timeout_s or is_gone(where, self._place):
                self._reclaim(runner, beat)
        self._seen = seen

    def _pulse(self, tx: Tx) -> tuple[str, list[Any], bool]:
        mine = self.id if tx.execute(_beat, id_=self.id) else self._enter(tx)
        rows = tx.all(_all)
        alive = {row[0] for row in rows}
        row = tx.one(_leader)
        if row is None:
            leads = bool(tx.execute(_lead_first, id_=mine))
        elif row[0] not in alive:
            leads = bool(tx.execute(_lead_next, id_=mine, old=row[0]))
        else:
            leads = row[0] == mine
        return mine, rows, leads

    def _reclaim(self, runner: str, beat: int) -> None:
        released = self._writer.run_sync(lambda tx: recovery.reclaim_dead(tx, runner=runner, beat=beat))
        if released is not None:
            self._log.warning("a process died", runner=runner, jobs=len(released))
            count_rescued(self._metrics, released)
