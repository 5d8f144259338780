"""The command `onward stats`: the history as a table, or as JSON with GraphQL's names. It gives the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from rich.table import Table
from rich.text import Text

from onward.cli.job_text import plain
from onward.cli.terminal import DONE, REFUSED, fail, ledger_of, out
from onward.cli.times import time_of
from onward.config.settings import Settings
from onward.jobs import sketch, stats
from onward.jobs.history_rows import COUNTS
from onward.jobs.model import to_datetime
from onward.jobs.stats import Behind, Failure, HandlerStats, Span
from onward.jobs.stats_step import StatsStep
from onward.storage.transaction import Tx

T = TypeVar("T")
SHOWN = ("p50", "p95")
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))
ROUNDING = 0.0005  # of three digits


def show(
    settings: Settings,
    begin: str,
    end: str,
    handler: Sequence[str],
    step: StatsStep,
    *,
    as_json: bool,
) -> int:
    """Print a line for each handler and step. Raises ValueError for a time that is none."""

    def read(tx: Tx, span: Span) -> Sequence[HandlerStats]:
        return stats.stats(tx, span, handler=handler, step=step)

    return _print(settings, begin, end, read, _stats, _table, as_json=as_json)


def show_failures(settings: Settings, begin: str, end: str, handler: Sequence[str], *, as_json: bool) -> int:
    """Print a line for each error of jobs that failed. Raises ValueError likewise."""

    def read(tx: Tx, span: Span) -> Sequence[Failure]:
        return stats.failed(tx, span, handler=handler)

    return _print(settings, begin, end, read, _failure, _failures, as_json=as_json)


def _print(  # noqa: PLR0917 - private
    settings: Settings,
    begin: str,
    end: str,
    read: Callable[[Tx, Span], Sequence[T]],
    as_object: Callable[[T], Mapping[str, Any]],
    as_table: Callable[[Sequence[T]], Table],
    *,
    as_json: bool,
) -> int:
    def look(tx: Tx) -> Sequence[T]:
        return read(tx, Span(time_of(begin, tx.now), time_of(end, tx.now)))

    try:
        with ledger_of(settings) as database:
            found = database.read_sync(look)
    except stats.WrongRange as error:
        fail(str(error))
        return REFUSED
    except Behind:
        fail("the history is not up to date yet: try again in a minute, while a process of Onward runs")
        return REFUSED
    if as_json:
        for one in found:
            print(json.dumps(as_object(one)))
    else:
        out().print(as_table(found) if found else "no jobs in this time")
    return DONE


def _stats(one: HandlerStats) -> Mapping[str, Any]:
    return {
        "handler": one.handler,
        "from": _iso(one.span.begin),
        "to": _iso(one.span.end),
        **one.counts,
        **{name: sketch.percentiles(times) for name, times in (("wait", one.sums.waits), ("run", one.sums.runs))},
    }


def _failure(one: Failure) -> Mapping[str, Any]:
    group = one.group
    return {
        "handler": one.handler,
        "code": one.code,
        "message": one.message,
        "count": group.n,
        "firstAt": _iso(group.first_at),
        "lastAt": _iso(group.last_at),
    }


def _table(found: Sequence[HandlerStats]) -> Table:
    times = (f"{name} {shown}" for name in ("wait", "run") for shown in SHOWN)
    made = headed(("handler", "from"), (*COUNTS, *times))
    for one in found:
        shown = [took(sketch.percentiles(of)[name]) for of in (one.sums.waits, one.sums.runs) for name in SHOWN]
        made.add_row(plain(one.handler), _local(one.span.begin), *map(str, one.sums.counts), *shown)
    return made


def _failures(found: Sequence[Failure]) -> Table:
    made = headed(("handler", "code", "first", "last"), ("count",))
    made.add_column("message")
    for one in found:
        texts = (one.handler, one.code, _local(one.group.first_at), _local(one.group.last_at), str(one.group.n))
        made.add_row(*(Text(plain(text)) for text in (*texts, one.message)))
    return made


def headed(names: Iterable[str], figures: Iterable[str]) -> Table:
    """Return a table of names and, to their right, figures."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        made.add_column(name, no_wrap=True)
    for name in figures:
        made.add_column(name, justify="right")
    return made


def took(seconds: float | None) -> str:
    """Return a duration with its unit; a dash for none."""
    if seconds is None:
        return "-"
    size, unit = next((one for one in UNITS if seconds >= one[0] * (1 - ROUNDING)), UNITS[-1])
    return f"{seconds / size:.3g} {unit}"


def _local(at: int) -> str:
    return f"{to_datetime(at).astimezone():%Y-%m-%d %H:%M}"


def _iso(at: int) -> str:
    return to_datetime(at).isoformat().replace("+00:00", "Z")
