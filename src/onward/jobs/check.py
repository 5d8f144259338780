"""Checks that every waiting job has a handler."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from onward.findings import Finding, State
from onward.jobs import concurrency, ledger
from onward.storage import migrate
from onward.storage.base import StorageError
from onward.storage.engine import Database


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
