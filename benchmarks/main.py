"""`./onward bench`: the figures, the table, the file, and with --quick a check of the ratios."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

from rich.console import Console

from benchmarks import machine, table
from benchmarks.base import BenchError, Row, Scope
from benchmarks.environment import FOLDER
from benchmarks.figures import (
    accept,
    durable,
    flows,
    growth,
    jobs,
    memory,
    pages,
    past,
    pickup,
    queues,
    size,
    start,
    watch,
)
from onward.web import build
from onward.web.base import BuildFailed
from tests.servers import Missing

QUICK = "ABCDEFJ"  # figures that are meaningful on a CI machine
FIGURES = "ABCDEFGHIJKLMNOPQRS"
Take = Callable[[Scope, str], Iterator[Row]]
TAKES: tuple[tuple[str, Take], ...] = (
    ("AB", accept.take_in_process),
    ("C", lambda scope, _: accept.take_dramatiq(scope)),
    ("D", lambda scope, _: pickup.take(scope)),
    ("EF", jobs.take),
    ("G", lambda scope, _: size.take(scope)),
    ("H", lambda scope, _: memory.take(scope)),
    ("I", lambda scope, _: watch.take(scope)),
    ("J", lambda scope, _: start.take(scope)),
    ("K", lambda scope, _: pickup.take_within(scope)),
    ("LM", durable.take),
    ("N", lambda scope, _: queues.take(scope)),
    ("O", lambda scope, _: queues.take_pickup(scope)),
    ("P", lambda scope, _: flows.take(scope)),
    ("Q", lambda scope, _: growth.take(scope)),
    ("R", lambda scope, _: pages.take(scope)),
    ("S", lambda scope, _: past.take(scope)),
)


def run(*, quick: bool, only: str | None, large: int | None = None) -> int:
    """Run the figures; return 1 if a measurement failed, or with `quick` a ratio is under its generous bound."""
    wanted = _chosen(only, quick=quick)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all started processes are ended
    scope = Scope(FOLDER / "run", quick, large)
    scope.folder.mkdir(parents=True, exist_ok=True)
    with suppress(BuildFailed):
        for bundle in build.BUNDLES:  # otherwise the first measured servers would build them
            bundle.build()
    about, rows, failed, began = machine.described(), [], False, datetime.now(UTC)
    for figures, take in TAKES:
        chosen = "".join(letter for letter in figures if letter in wanted)
        if not chosen:
            continue
        _say(f"measuring {', '.join(chosen)}")
        try:
            rows += list(take(scope, chosen))
        except (BenchError, Missing) as error:
            failed = True
            _say(f"{', '.join(chosen)}: {error}")
        except Exception:  # noqa: BLE001 - the other figures, before and after, stand
            failed = True
            _say(f"{', '.join(chosen)}: {traceback.format_exc()}")
        if rows:
            table.written(rows, about, FOLDER, began)
    table.shown(rows, Console(width=None if sys.stdout.isatty() else 200))
    _say(f"written to {table.written(rows, about, FOLDER, began)}")
    worse = [row for row in rows if quick and not row.holds(row.generous)]
    for row in worse:
        _say(f"{row.figure}, {row.what}: {row.judged:.2f} is beyond {row.generous:g}")
    return 1 if failed or worse else 0


def _chosen(only: str | None, *, quick: bool) -> str:
    """Return the chosen figures. Raises BenchError for an unknown letter."""
    if only is None:
        return QUICK if quick else FIGURES
    figures = only.upper().replace(",", "").replace(" ", "")
    if unknown := sorted(set(figures) - set(FIGURES)):
        raise BenchError(f"--only must name figures from {FIGURES[0]} to {FIGURES[-1]} (got {', '.join(unknown)})")
    return figures


def _say(line: str) -> None:
    sys.stderr.write(f"onward: {line}\n")
    sys.stderr.flush()
