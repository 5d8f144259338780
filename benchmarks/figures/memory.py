"""H: memory of the API process while many jobs wait, compared with before."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import load, progress
from benchmarks.base import BenchError, Measured, Row, Scope, emptied
from benchmarks.figures.accept import api
from benchmarks.graphql import body

WAITING = 100_000
HOUR_S = 3600.0
PIECE_S = 3.0
TIMEOUT_S = 900.0
PAUSE = "mutation($seconds: Float!) { pause(seconds: $seconds) }"


def take(scope: Scope) -> Iterator[Row]:
    grown = Measured("Onward")
    folder = emptied(scope.folder / "onward")
    wanted = scope.jobs(WAITING)
    with api(folder, backend="background") as (server, port):
        url = f"http://127.0.0.1:{port}/graphql"
        warm = body('mutation { stamp(path: "/dev/null") }')
        load.post(url, warm, seconds=2.0, folder=folder)  # caches are filled, buffers have grown
        before, accepted_before = server.rss_mb(), progress.in_ledger(folder / "ledger.db")
        # An hour's pause takes each of the slots; all later jobs wait.
        until = time.monotonic() + TIMEOUT_S
        while progress.in_ledger(folder / "ledger.db") - accepted_before < wanted:
            if time.monotonic() > until:
                raise BenchError(f"the server did not accept {wanted:,} jobs within {TIMEOUT_S:.0f} s")
            load.post(url, body(PAUSE, seconds=HOUR_S), seconds=PIECE_S, folder=folder)
        grown.add(server.rss_mb() - before, empty_mb=before)
    yield Row("H", f"memory, {wanted:,} jobs waiting: growth", "MB", grown, reach=50.0, at_least=False)
