"""Checks that every waiting job has a handler, and a process that takes its queue."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from onward.findings import Finding, State
from onward.jobs import concurrency, due, ledger
from onward.jobs.waiting import taken
from onward.storage import migrate
from onward.storage.base import StorageError
from onward.storage.engine import Database
from onward.storage.transaction import Tx
from onward.text.queues import DEFAULT, split


def check_handlers(database: Database, names: Collection[str]) -> Iterator[Finding]:
    """Warn of jobs that wait for a handler which is not among the names."""
    try:
        if migrate.revision(database) != migrate.HEAD:
            return
        waiting, paused = database.read_sync(
            lambda tx: (ledger.count_unknown_handlers(tx, names), {one.handler for one in concurrency.pauses(tx)})
        )
    except StorageError:  # the database's own check reports it
        return
    for name, count in waiting.items():
        jobs = "1 job waits" if count == 1 else f"{count} jobs wait"
        fix = "name its module in handlers.modules again; else each fails as HANDLER_MISSING when its turn comes"
        if name in paused:
            fix = f"{fix}, which is after `onward jobs resume {name}`"
        yield Finding("handlers", State.WARNING, f"{jobs} for {name}, which no handler here is named", fix)


def check_queues(database: Database, destinations: Collection[str]) -> Iterator[Finding]:
    """Warn of jobs in queues that no process takes; of those without a queue only while other processes are up."""

    def look(tx: Tx) -> tuple[set[str], dict[str, int]]:
        found = {*destinations, *(row.backend for row in due.destinations(tx, since=None)[0])}
        return taken(tx), {one: due.waiting(tx, backend=one)[0] for one in sorted(found)}

    try:
        if migrate.revision(database) != migrate.HEAD:
            return
        takes, counts = database.read_sync(look)
    except StorageError:  # the database's own check reports it
        return
    for one, count in counts.items():
        backend, queue = split(one)
        if count and one not in takes and (queue != DEFAULT or (takes and one in destinations)):
            jobs = "1 job waits" if count == 1 else f"{count} jobs wait"
            fix = f"start `onward worker --queues {queue}`, or `onward serve` with it where {backend} runs jobs there"
            yield Finding(
                "queues", State.WARNING, f"{jobs} on {backend} in the queue {queue}, which no process takes", fix
            )
