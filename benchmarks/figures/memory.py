"""H: memory of the API process while many jobs wait, compared with before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import load, progress
from benchmarks.base import BenchError, Measured, Row, Scope, emptied
from benchmarks.figures.accept import api
from benchmarks.graphql import body
from benchmarks.postgres import ledger, servers
from onward.storage.engine import Database

WAITING = 100_000
HOUR_S = 3600.0
PIECE_S = 3.0
TIMEOUT_S = 900.0
PAUSE = "mutation($seconds: Float!) { pause(seconds: $seconds) }"


def take(scope: Scope) -> Iterator[Row]:
    wanted = scope.jobs(WAITING)
    folder = emptied(scope.folder / "onward")
    yield _grown(folder, "SQLite", wanted, folder / "ledger.db", "")
    with servers(scope) as on, on.onward("background") as run, ledger(run.url) as found:
        yield _grown(run.folder, "PostgreSQL", wanted, found, run.url)


def _grown(folder: Path, database: str, wanted: int, found: Path | Database, database_url: str) -> Row:
    grown = Measured("Onward")
    with api(folder, backend="background", database_url=database_url) as (server, port):
        url = f"http://127.0.0.1:{port}/graphql"
        warm = body('mutation { stamp(path: "/dev/null") }')
        load.post(url, warm, seconds=2.0, folder=folder)  # caches are filled, buffers have grown
        before, accepted_before = server.rss_mb(), progress.in_ledger(found)
        # An hour's pause takes each of the slots; all later jobs wait.
        until = time.monotonic() + TIMEOUT_S
        while progress.in_ledger(found) - accepted_before < wanted:
            if time.monotonic() > until:
                raise BenchError(f"the server did not accept {wanted:,} jobs within {TIMEOUT_S:.0f} s")
            load.post(url, body(PAUSE, seconds=HOUR_S), seconds=PIECE_S, folder=folder)
        grown.add(server.rss_mb() - before, empty_mb=before)
    return Row("H", f"memory, {wanted:,} jobs waiting, {database}: growth", "MB", grown, reach=50.0, at_least=False)
