"""Metrics of the whole installation: the jobs in the ledger, and the health of each backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from onward.backends.base import Health
from onward.dispatch.dispatcher import Dispatcher
from onward.jobs import blocked, concurrency, due, ledger
from onward.jobs.model import Visible
from onward.jobs.states import JobStatus
from onward.storage.base import StorageError
from onward.storage.engine import Database
from onward.storage.transaction import Tx
from onward.telemetry import logger
from onward.telemetry.metrics import Figure

ALL = Visible(everything=True)


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Figures of the ledger."""

    counts: Mapping[JobStatus, int]
    waiting: Mapping[str, tuple[int, float]]  # by backend: jobs, and the seconds that the oldest has waited
    blocked: Mapping[str, int]  # jobs, by the reason
    paused: int  # handlers


def ask(database: Database, dispatcher: Dispatcher) -> list[Figure]:
    """Return the present figures, without those of the ledger while it does not answer. Blocks."""
    try:
        stats: QueueStats | None = database.read_sync(partial(_read, backends=tuple(dispatcher.backends)))
    except StorageError:
        stats = None
    except Exception:  # noqa: BLE001 - a table may be missing while a backup is restored, and the other figures are right
        logger("dispatch").exception("the ledger's figures cannot be read")
        stats = None
    return figures(stats, {name: dispatcher.health_of(name) for name in dispatcher.backends})


def _read(tx: Tx, backends: tuple[str, ...]) -> QueueStats:
    waiting = {name: due.waiting(tx, backend=name) for name in backends}
    return QueueStats(
        ledger.counts(tx, visible=ALL),
        {name: (n, (age_us or 0) / 1_000_000) for name, (n, age_us) in waiting.items()},
        {**dict.fromkeys(concurrency.REASONS, 0), **blocked.count(tx)},
        len(concurrency.pauses(tx)),
    )


def figures(stats: QueueStats | None, brokers: Mapping[str, Health]) -> list[Figure]:
    up = {name: float(health.reachable) for name, health in brokers.items()}
    held = {name: float(health.depth) for name, health in brokers.items() if health.depth is not None}
    counts = {status.value: float(n) for status, n in stats.counts.items()} if stats else {}
    waiting = stats.waiting if stats else {}
    return [
        Figure("onward_ledger_up", "1 if the ledger answers, else 0.", "", {"": float(stats is not None)}),
        Figure("onward_jobs", "Jobs in the ledger.", "status", counts),
        Figure("onward_backend_up", "1 if the backend can be reached, else 0.", "backend", up),
        Figure(
            "onward_backend_depth",
            "Jobs in the ledger that wait for the backend, without blocked ones.",
            "backend",
            {name: float(n) for name, (n, _) in waiting.items()},
        ),
        Figure(
            "onward_backend_oldest_seconds",
            "Age of the oldest job that waits for the backend, without blocked ones.",
            "backend",
            {name: age_s for name, (_, age_s) in waiting.items()},
        ),
        Figure(
            "onward_jobs_parked",
            "Queued jobs that a limit or a pause blocks.",
            "reason",
            {reason: float(n) for reason, n in stats.blocked.items()} if stats else {},
        ),
        Figure("onward_handlers_paused", "Paused handlers.", "", {"": float(stats.paused)} if stats else {}),
        Figure("onward_broker_messages", "Messages in the backend's broker.", "backend", held),
    ]
