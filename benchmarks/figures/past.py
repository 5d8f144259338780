"""S: what the history costs, beside the same program without it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.base import Measured, Row, Scope, in_turn
from benchmarks.figures import growth
from benchmarks.postgres import servers

WITHOUT = "benchmarks.without_history"
RATE, COST = 0.97, 1.03  # at most three in a hundred


def take(scope: Scope) -> Iterator[Row]:
    """Measure rates, and the processor time of a mutation or a job, the database's included."""
    with servers(scope) as on:
        for database in growth.DATABASES:
            ways = {
                ("mutations accepted, background", "/s"): partial(growth.accepted, on, database, 1),
                ("no-op jobs, background", "jobs/s"): partial(growth.ran, on, database, "background", 1),
            }
            for (what, unit), taking in ways.items():
                onward, without = Measured("Onward"), Measured("without the history")
                in_turn(scope.many_rounds, [(onward, taking), (without, partial(taking, module=WITHOUT))])
                yield Row("S", f"{what}, {database}", unit, onward, without, reach=RATE)
                yield Row(
                    "S", f"{what}, {database}", "us CPU", _cost(onward), _cost(without), reach=COST, at_least=False
                )


def _cost(measured: Measured) -> Measured:
    own, databases = (measured.beside[name] for name in ("cpu_us", "db_us"))
    return Measured(measured.name, [a + b for a, b in zip(own, databases, strict=True)])
