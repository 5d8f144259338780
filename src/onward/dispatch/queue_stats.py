"""Metrics of the whole installation: the jobs in the ledger, and the health of each backend."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import NamedTuple

from onward.backends.base import Health
from onward.dispatch.dispatcher import Dispatcher
from onward.jobs import blocked, concurrency, due, history_rows, ledger, schedule_rows
from onward.jobs.model import Visible
from onward.jobs.states import JobStatus
from onward.storage.base import StorageError
from onward.storage.transaction import Tx
from onward.storage.writer import Writer
from onward.telemetry import logger
from onward.telemetry.metrics import Figure

ALL = Visible(everything=True)
OTHERS = "(other)"  # all handlers that this process does not know; no name that anybody gives one


class QueueStats(NamedTuple):
    """Figures of the ledger."""

    counts: Mapping[JobStatus, int]
    waiting: Mapping[str, Mapping[str, tuple[int, float]]]  # by backend and handler: jobs, seconds of the oldest
    blocked: Mapping[str, int]  # jobs, by the reason
    paused: int  # handlers
    held: int  # schedules whose ticks wait because of a problem
    behind_s: float  # the age of the oldest figures that are not added up


def ask(writer: Writer, dispatcher: Dispatcher, handlers: Collection[str]) -> list[Figure]:
    """Return the present figures, without those of the ledger while it does not answer. Blocks.

    Each of the `handlers` has a series; jobs of others, which a newer release brought, share one.
    """
    try:
        stats: QueueStats | None = writer.database.read_sync(partial(_read, backends=tuple(dispatcher.backends)))
    except StorageError:
        stats = None
    except Exception:  # noqa: BLE001 - a table may be missing while a backup is restored, and the other figures are right
        logger("dispatch").exception("the ledger's figures cannot be read")
        stats = None
    brokers = {name: dispatcher.health_of(name) for name in dispatcher.backends}
    return figures(stats, brokers, handlers, writable=stats is not None and not writer.failing)


def _read(tx: Tx, backends: tuple[str, ...]) -> QueueStats:
    found = {name: due.waiting_by_handler(tx, backend=name) for name in backends}
    return QueueStats(
        ledger.counts(tx, visible=ALL),
        {
            name: {handler: (n, age_us / 1_000_000) for handler, (n, age_us) in waiting.items()}
            for name, waiting in found.items()
        },
        {**dict.fromkeys(concurrency.REASONS, 0), **blocked.count(tx)},
        len(concurrency.pauses(tx)),
        schedule_rows.count_held(tx),
        history_rows.age_us(tx) / 1_000_000,
    )


def figures(
    stats: QueueStats | None, brokers: Mapping[str, Health], handlers: Collection[str], *, writable: bool
) -> list[Figure]:
    up = {name: float(health.reachable) for name, health in brokers.items()}
    held = {name: float(health.depth) for name, health in brokers.items() if health.depth is not None}
    counts = {status.value: float(n) for status, n in stats.counts.items()} if stats else {}
    waiting = stats.waiting if stats else {}
    depth = {name: float(sum(n for n, _ in found.values())) for name, found in waiting.items()}
    oldest = {name: max((age_s for _, age_s in found.values()), default=0.0) for name, found in waiting.items()}
    depth_of = dict.fromkeys(handlers if stats else (), 0.0)
    oldest_of = dict(depth_of)
    for handler, (n, age_s) in ((name, one) for found in waiting.values() for name, one in found.items()):
        name = handler if handler in depth_of else OTHERS
        depth_of[name] = depth_of.get(name, 0.0) + n
        oldest_of[name] = max(oldest_of.get(name, 0.0), age_s)
    return [
        Figure("onward_ledger_up", "1 if the ledger answers, else 0.", "", {"": float(stats is not None)}),
        Figure(
            "onward_ledger_writable",
            "1 if this process's last write of the ledger succeeded, else 0, as on a full disk.",
            "",
            {"": float(writable)},
        ),
        Figure("onward_jobs", "Jobs in the ledger.", "status", counts),
        Figure("onward_backend_up", "1 if the backend can be reached, else 0.", "backend", up),
        Figure(
            "onward_backend_depth",
            "Jobs in the ledger that wait for the backend, without blocked ones.",
            "backend",
            depth,
        ),
        Figure(
            "onward_backend_oldest_seconds",
            "Age of the oldest job that waits for the backend, without blocked ones.",
            "backend",
            oldest,
        ),
        Figure(
            "onward_handler_depth",
            "Due jobs of the handler that wait for a free worker, without blocked ones.",
            "handler",
            depth_of,
        ),
        Figure(
            "onward_handler_oldest_seconds",
            "Age of the oldest due job of the handler that waits for a free worker, without blocked ones.",
            "handler",
            oldest_of,
        ),
        Figure(
            "onward_jobs_parked",
            "Queued jobs that a limit or a pause blocks.",
            "reason",
            {reason: float(n) for reason, n in stats.blocked.items()} if stats else {},
        ),
        Figure("onward_handlers_paused", "Paused handlers.", "", {"": float(stats.paused)} if stats else {}),
        Figure(
            "onward_schedules_held",
            "Schedules made at run time whose ticks wait because of a problem.",
            "",
            {"": float(stats.held)} if stats else {},
        ),
        Figure(
            "onward_history_behind_seconds",
            "Age of the oldest figures of the history that no process has added up yet; 0 without any.",
            "",
            {"": stats.behind_s} if stats else {},
        ),
        Figure("onward_broker_messages", "Messages in the backend's broker.", "backend", held),
    ]
