"""S: what the history costs, beside the same program without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.base import Measured, Row, Scope, in_turn
from benchmarks.figures import growth
from benchmarks.figures.flows import WORK, Side
from benchmarks.postgres import servers

WITHOUT = "benchmarks.without_history"
WITHOUT_IT = "without the history"
RATE = 0.97  # the history may cost 3 % of it


def take(scope: Scope) -> Iterator[Row]:
    """Measure rates, which differ much, and the processor time of the ledger's work on a job, which does not."""
    with servers(scope) as on:
        for database in growth.DATABASES:
            ways = {
                ("mutations accepted, background", "/s"): partial(growth.accepted, on, database, 1),
                ("no-op jobs, background", "jobs/s"): partial(growth.ran, on, database, "background", 1),
            }
            for (what, unit), taking in ways.items():
                onward, without = Measured("Onward"), Measured(WITHOUT_IT)
                in_turn(scope.many_rounds, [(onward, taking), (without, partial(taking, module=WITHOUT))])
                yield Row("S", f"{what}, {database}", unit, onward, without, reach=RATE)
    with ExitStack() as stack:
        plain, past = Side(stack, scope, "plain"), Side(stack, scope, "past")
        for number in range(2 * scope.many_rounds):
            for side in (plain, past) if number % 2 == 0 else (past, plain):
                side.take()
    for what in WORK:
        yield Row("S", f"{what}, SQLite", "us CPU", plain.measured(what, "Onward"), past.measured(what, WITHOUT_IT))
